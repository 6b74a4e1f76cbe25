import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { failure } from '../../core/errors';
import { isRoot } from '../servers/process';
import type { SiteName } from './address-plan';

/** What `lab.json` says about a lab: enough to find, use, stop and remove it. */
export interface LabDescription {
  readonly name: string;
  readonly folder: string;
  /** n of 127.n.0.0/16; every address follows from it (lab/sites/address-plan.ts). */
  readonly network: number;
  readonly createdAt: string;
  readonly supervisor: { readonly url: string; readonly tokenFile: string };
  readonly temporal: { readonly address: string; readonly webUi: string };
  readonly s3: { readonly endpoint: string; readonly region: string; readonly buckets: readonly string[] };
  /** moto keeps nothing over a restart, so the zone and the topic are new after each `up`. */
  readonly aws: {
    readonly endpoint: string;
    readonly region: string;
    readonly zoneId: string;
    readonly topicArn: string;
  };
  readonly dns: { readonly servers: readonly string[]; readonly name: string; readonly gatewayPort: number };
  readonly sites: Readonly<
    Record<SiteName, { postgresql: string; mongodb: readonly string[]; redis: string; gateway: string }>
  >;
  readonly witness: string;
  /** The services run as Deployments in a cluster of each site; left out by labs of before. */
  readonly kubernetes?: boolean;
  /** The schema and the seed are there. */
  readonly seeded: boolean;
}

const NAME = /^[a-z0-9][a-z0-9-]{0,30}$/;

/** Where every lab has its folder. Root's lies under /var so that servers running as `nobody` can enter it. */
function labHome(): string {
  if (process.env['DRCTL_LAB_HOME']) return path.resolve(process.env['DRCTL_LAB_HOME']);
  return path.join(stateHome(), 'labs');
}

/** Machine-wide per user, whatever DRCTL_LAB_HOME says: networks are claimed here. */
export function stateHome(): string {
  if (isRoot) return '/var/lib/drctl';
  return path.join(process.env['XDG_STATE_HOME'] ?? path.join(os.homedir(), '.local/state'), 'drctl');
}

export function labFolder(name: string): string {
  if (!NAME.test(name))
    throw failure('UsageInvalid', `"${name}" is no name for a lab: lower-case letters, digits and dashes only`);
  return path.join(labHome(), name);
}

/** Null when there is no such lab. */
export function readLab(name: string): LabDescription | null {
  const file = path.join(labFolder(name), 'lab.json');
  return fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, 'utf8')) as LabDescription) : null;
}

export function writeLab(lab: LabDescription): LabDescription {
  const file = path.join(lab.folder, 'lab.json');
  fs.writeFileSync(`${file}.new`, `${JSON.stringify(lab, null, 2)}\n`);
  fs.renameSync(`${file}.new`, file);
  return lab;
}

/** The secrets of a lab: one file each, mode 600, generated when first asked for. */
export class LabSecrets {
  private readonly folder: string;

  constructor(labFolderPath: string) {
    this.folder = path.join(labFolderPath, 'secrets');
    fs.mkdirSync(this.folder, { recursive: true, mode: 0o700 });
  }

  file(name: string): string {
    return path.join(this.folder, name);
  }

  /** A generated password; the same at every call. */
  password(name: string): string {
    if (!fs.existsSync(this.file(name))) this.write(name, randomBytes(18).toString('hex'));
    return fs.readFileSync(this.file(name), 'utf8').trim();
  }

  write(name: string, content: string): string {
    fs.writeFileSync(`${this.file(name)}.new`, `${content}\n`, { mode: 0o600 });
    fs.renameSync(`${this.file(name)}.new`, this.file(name));
    return this.file(name);
  }
}
