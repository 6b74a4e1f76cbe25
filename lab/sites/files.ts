import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { SITES, type SiteName } from './address-plan';

interface Folder {
  readonly folder: string;
}

/** The directories of the weekly configuration backup, as the strategy names them. */
export const CONFIGURATION_FOLDERS = [
  'etc/kubernetes',
  'opt/ultramarket/config',
  'etc/nginx',
  'etc/ssl/certs',
] as const;

/** The file tree of a site, in the place of its host's root. */
function hostRoot({ folder }: Folder, site: SiteName): string {
  return path.join(folder, site, 'host');
}

export function applicationRoot(lab: Folder, site: SiteName): string {
  return path.join(hostRoot(lab, site), 'opt/ultramarket');
}

export function configurationRoot(lab: Folder, site: SiteName, folder: (typeof CONFIGURATION_FOLDERS)[number]): string {
  return path.join(hostRoot(lab, site), folder);
}

/** Creates a small application and its configuration at both sites, with what a backup must leave out. Repeatable. */
export function createFileTrees(lab: Folder): void {
  for (const site of SITES) {
    const root = hostRoot(lab, site);
    if (fs.existsSync(path.join(root, 'complete'))) continue;
    for (const [name, content] of Object.entries(contents())) {
      const file = path.join(root, name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, content);
    }
    fs.chmodSync(path.join(root, 'opt/ultramarket/bin/start'), 0o755);
    replaceLink('releases/2', path.join(root, 'opt/ultramarket/current'));
    fs.writeFileSync(path.join(root, 'complete'), '');
  }
}

function replaceLink(target: string, link: string): void {
  fs.rmSync(link, { force: true });
  fs.symlinkSync(target, link);
}

function contents(): Record<string, Buffer | string> {
  const images = Array.from({ length: 40 }, (_, n) => [
    `opt/ultramarket/static/images/product-${n + 1}.jpg`,
    noise(`image ${n}`, 20_000 + n * 1_500),
  ]);
  return {
    'opt/ultramarket/bin/start': '#!/bin/sh\nexec node /opt/ultramarket/current/server.js\n',
    'opt/ultramarket/releases/1/server.js': 'console.log("UltraMarket 1");\n',
    'opt/ultramarket/releases/2/server.js': 'console.log("UltraMarket 2");\n',
    'opt/ultramarket/static/index.html': '<!doctype html><title>UltraMarket</title>\n',
    'opt/ultramarket/static/grüße aus köln.txt': 'a name beyond ASCII, with spaces\n',
    'opt/ultramarket/static/empty': '',
    'opt/ultramarket/config/services.json': '{"region":"eu"}\n',
    // Left out of a backup by the strategy's excludes.
    'opt/ultramarket/node_modules/left-pad/index.js': 'module.exports = () => {};\n',
    'opt/ultramarket/logs/access.log': 'GET / 200\n',
    'opt/ultramarket/tmp/upload-1': noise('upload', 5_000),
    'etc/kubernetes/admin.conf': 'apiVersion: v1\nkind: Config\n',
    'etc/nginx/nginx.conf': 'events {}\n',
    'etc/ssl/certs/ultramarket.pem': '-----BEGIN CERTIFICATE-----\nnot a real one\n-----END CERTIFICATE-----\n',
    ...(Object.fromEntries(images) as Record<string, Buffer>),
  };
}

/** Bytes that do not compress, and are the same in every lab. */
function noise(seed: string, sizeBytes: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(sizeBytes / 32) }, (_, n) =>
    createHash('sha256').update(`${seed} ${n}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, sizeBytes);
}
