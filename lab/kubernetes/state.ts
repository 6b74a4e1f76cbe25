import { generateKeyPairSync, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { serverFile, serverFolder } from '../servers/process';

export interface Tokens {
  readonly admin: string;
  readonly operator: string;
}

/** The tokens and the key of service accounts that the API server starts with; written where the folder is new. */
export function prepareState(folder: string): Tokens {
  const tokensFile = path.join(folder, 'tokens.csv');
  if (fs.existsSync(tokensFile)) {
    const [admin = '', operator = ''] = fs
      .readFileSync(tokensFile, 'utf8')
      .split('\n')
      .map((row) => row.split(',')[0]);
    return { admin, operator };
  }
  const pki = serverFolder(path.join(folder, 'pki'));
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  serverFile(path.join(pki, 'sa.key'), privateKey.export({ type: 'sec1', format: 'pem' }).toString());
  serverFile(path.join(pki, 'sa.pub'), publicKey.export({ type: 'spki', format: 'pem' }).toString());
  const tokens = { admin: randomBytes(16).toString('hex'), operator: randomBytes(16).toString('hex') };
  const rows = [`${tokens.admin},admin,1,"system:masters"`, `${tokens.operator},dr-operator,2,"dr-operators"`];
  serverFile(tokensFile, `${rows.join('\n')}\n`);
  return tokens;
}

/** Writes a kubeconfig and returns its path. JSON is YAML. */
export function writeKubeconfig(folder: string, server: string, user: string, token: string): string {
  const authority = path.join(folder, 'pki', 'apiserver.crt');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'lab', cluster: { server, 'certificate-authority': authority } }],
    users: [{ name: user, user: { token } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user } }],
    'current-context': 'lab',
  };
  return serverFile(path.join(folder, `${user}.kubeconfig`), JSON.stringify(config, null, 2));
}
