import * as fs from 'node:fs';
import * as path from 'node:path';
import { parse, stringify } from 'yaml';
import type { HookCall } from '../../../core/hooks';
import type { FailOverResult } from '../../../core/role-change-runs';
import type { E2eLab } from '../e2e-lab';

/** In the order in which a failover comes to them. */
const BEFORE_THE_PIVOT = ['pause-imports', 'last-word'];
const NOTED = [...BEFORE_THE_PIVOT, 'warm-caches'];
const FAILING = 'broken';

/** Names hooks in the lab's config that write down how they are called, and one that always fails and holds nothing up. */
export function addNotedHooks({ lab, configFile }: E2eLab): () => HookCall[] {
  const journal = path.join(lab.folder, 'hook-calls.jsonl');
  fs.writeFileSync(journal, '');
  const note = { argv: ['/usr/bin/tee', '-a', journal] };
  const config = parse(fs.readFileSync(configFile, 'utf8')) as Record<string, unknown>;
  config['hooks'] = {
    'pause-imports': { before: 'fence', run: note, undo: note, attempts: 3 },
    'last-word': { before: 'promotion', run: note, undo: note, attempts: 3 },
    'warm-caches': { after: 'services', run: note, attempts: 3 },
    [FAILING]: { after: 'dns', run: { argv: ['/usr/bin/false'] }, onFailure: 'continue' },
  };
  fs.writeFileSync(configFile, stringify(config));
  return () =>
    fs
      .readFileSync(journal, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as HookCall);
}

/** What is wrong with how a role change called them: each at least once, in their order, for this run, and taken back where it turned back. */
export function hookFaults(calls: readonly HookCall[], result: FailOverResult, runId: string): string[] {
  const faults = calls
    .filter((call) => call.runId !== runId || call.from !== result.fromSite || call.to !== result.toSite)
    .map((call) => `called for another role change: ${JSON.stringify(call)}`);
  const firsts = [...new Set(calls.filter(({ action }) => action === 'run').map(({ hook }) => hook))];
  const completed = result.outcome === 'completed';
  const expected = completed ? NOTED : NOTED.slice(0, firsts.length);
  if (firsts.join() !== expected.join()) faults.push(`ran ${firsts.join()} where ${expected.join()} was to run`);
  const undone = calls.filter(({ action }) => action === 'undo');
  if (completed) {
    faults.push(...undone.map(({ hook }) => `${hook} was taken back although the failover completed`));
    const state = result.steps.find(({ id }) => id === `hook:${FAILING}`)?.state;
    if (state !== 'failed') faults.push(`${FAILING} is said to be ${state}`);
  } else {
    for (const hook of firsts)
      if (calls.findLast((call) => call.hook === hook)?.action !== 'undo') faults.push(`${hook} was not taken back`);
    const back = [...new Set(undone.map(({ hook }) => hook))];
    const newestFirst = BEFORE_THE_PIVOT.toReversed().filter((hook) => back.includes(hook));
    if (back.join() !== newestFirst.join()) faults.push(`taken back in the order ${back.join()}`);
  }
  return faults;
}
