import { builtProgram, type GoProgram, whyNotBuilt } from '../runtime/go-program';

const API_SERVER: GoProgram = {
  what: 'the Kubernetes API server',
  folder: 'kubernetes',
  name: 'kubernetes-api',
  sources: ['go.mod', 'go.sum', 'main.go'],
  target: '.',
  minGo: [1, 26],
  cost: 'about five minutes, 565 MB of Go modules',
};

export const whyNoApiServer = (): string | null => whyNotBuilt(API_SERVER);

export const builtApiServer = (onProgress?: (line: string) => void): Promise<string> =>
  builtProgram(API_SERVER, onProgress);
