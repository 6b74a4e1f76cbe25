/** What services need besides what runs: so many pods, each with what its containers request. CPU in cores, memory in bytes. */
export interface PodDemand {
  readonly service: string;
  readonly pods: number;
  readonly cpuCores: number;
  readonly memoryBytes: number;
}

/** A place for pods, with what is not spoken for. */
export interface NodeRoom {
  readonly name: string;
  readonly cpuCores: number;
  readonly memoryBytes: number;
  readonly pods: number;
}

/** What a site has for services that are to run there. */
export interface Capacity {
  /** In words: what was counted. */
  readonly found: string;
  /** What would be refused, a line each: a quota that is used up. */
  readonly refused: readonly string[];
  /** What nothing has room for now, a line each; something may make room (a node autoscaler). */
  readonly homeless: readonly string[];
  /** What could not be looked at, and why. */
  readonly unseen: readonly string[];
}

/**
 * Which pods would find no node: the largest first, each on the node where it leaves least, as a scheduler that packs would. A
 * real one may do worse, and never does better by much.
 */
export function withoutRoom(demands: readonly PodDemand[], nodes: readonly NodeRoom[]): PodDemand[] {
  const rooms = nodes.map((node) => ({ ...node }));
  const size = ({ cpuCores, memoryBytes }: PodDemand) => cpuCores + memoryBytes / 2 ** 32;
  const left: PodDemand[] = [];
  for (const demand of demands.toSorted((a, b) => size(b) - size(a))) {
    let placed = 0;
    for (; placed < demand.pods; placed += 1) {
      const fitting = rooms
        .filter((room) => room.pods >= 1 && room.cpuCores >= demand.cpuCores && room.memoryBytes >= demand.memoryBytes)
        .toSorted((a, b) => a.cpuCores - b.cpuCores || a.memoryBytes - b.memoryBytes);
      const [room] = fitting;
      if (!room) break;
      room.pods -= 1;
      room.cpuCores -= demand.cpuCores;
      room.memoryBytes -= demand.memoryBytes;
    }
    if (placed < demand.pods) left.push({ ...demand, pods: demand.pods - placed });
  }
  return left;
}

const SUFFIXES: Readonly<Record<string, number>> = {
  ...{ n: 1e-9, u: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
};

/** Kubernetes' notation of amounts: `500m`, `2`, `1.5Gi`, `129e6`. Null for something else. */
export function quantity(text: string): number | null {
  const groups = /^(?<number>[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?|[+-]?\d+\.)(?<suffix>[A-Za-z]*)$/.exec(
    text.trim(),
  )?.groups;
  const factor = SUFFIXES[groups?.['suffix'] ?? ''];
  return groups && factor !== undefined ? Number(groups['number']) * factor : null;
}
