import * as fs from 'node:fs';
import { unpackedPackages } from './debian-packages';

/** Debian's package `prometheus`: the server, and `promtool`, which checks and tests rules. */
export interface PrometheusPrograms {
  readonly prometheus: string;
  readonly promtool: string;
}

/** Where Prometheus lies: of the system, or out of Debian's package. Null where neither can be had. */
export function prometheusPrograms(): PrometheusPrograms | null {
  const ofTheSystem = programsIn('/usr');
  if (ofTheSystem) return ofTheSystem;
  const unpacked = unpackedPackages('prometheus', ['prometheus']);
  return unpacked === null ? null : programsIn(`${unpacked}/usr`);
}

function programsIn(folder: string): PrometheusPrograms | null {
  const programs = { prometheus: `${folder}/bin/prometheus`, promtool: `${folder}/bin/promtool` };
  return Object.values(programs).every((file) => fs.existsSync(file)) ? programs : null;
}
