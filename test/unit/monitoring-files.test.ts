import { readFileSync } from 'node:fs';
import { main } from '../../starters/main';
import { recordingIo } from '../support/recording-io';

/** What is shipped for the example is what the commands print for it. */
test.each([
  ['rules', 'deploy/prometheus/alerts.yml'],
  ['scrape', 'deploy/prometheus/scrape.yml'],
  ['dashboard', 'deploy/grafana/ultramarket.json'],
])('drctl metrics %s prints %s', async (what, file) => {
  const io = recordingIo();
  expect(await main(['metrics', what, '--config', 'config/examples/ultramarket.yaml'], io)).toBe(0);
  expect(`${io.outLines.join('\n')}\n`).toBe(readFileSync(file, 'utf8'));
});
