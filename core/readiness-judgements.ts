import type { DnsTarget, FailoverPolicy } from './application';
import type { Capacity } from './capacity';
import { formatBytes, formatDuration } from './clock';
import type { StoreProbe } from './engine';
import type { FenceOutlook, StoreDisk } from './fencing';
import type { Judgement } from './readiness';
import type { LossEstimate } from './replication';
import type { ServiceState } from './services';
import { type DnsAnswer, type DnsRecord, hasValues } from './traffic';

/** What was found, judged by what a failover needs. Pure: the looks themselves are in `activities/readiness-looks.ts`. */
const ok = (found: string): Judgement => ['ok', found, null];

const CANNOT_TAKE_OVER = 'the failover ends before anything is changed: nothing could take over';

/** Whether the store could be promoted at the site that would take over. */
export function judgeStandby(electsItself: boolean, { reachable, role, writable, problems }: StoreProbe): Judgement {
  const problem = problems[0] ? ` (${problems[0]})` : '';
  if (!reachable) return ['failing', `it does not answer${problem}`, CANNOT_TAKE_OVER];
  if (role === 'unknown') return ['failing', `it answers, and nothing of it can be seen${problem}`, CANNOT_TAKE_OVER];
  if (role === 'replica') {
    return writable === true
      ? ['failing', 'it follows its primary and takes writes of its own', 'what was written there only is lost']
      : ok('it follows');
  }
  if (electsItself && role === 'primary') return ok('its members lead there already');
  return ['failing', `it is ${role === 'primary' ? 'a primary' : 'alone'}: it follows nobody`, CANNOT_TAKE_OVER];
}

/** Whether the standby has the history of the primary: the same cluster, and its newest timeline. */
export function judgeHistory(primary: StoreProbe, standby: StoreProbe): Judgement {
  const unseen = [primary, standby].find(({ identity }) => identity === null);
  if (unseen) {
    const why = unseen.problems[0] ?? (unseen.reachable ? 'it does not say who it is' : 'it does not answer');
    return ['unknown', `${unseen.site}: ${why}`, 'whether the right data would be promoted is not known'];
  }
  if (primary.identity !== standby.identity) {
    return [
      'failing',
      `${standby.site} is of ${standby.identity}, ${primary.site} of ${primary.identity}`,
      'other data than those of the primary would be promoted',
    ];
  }
  const [written, followed] = [primary.position?.lineage, standby.position?.lineage];
  if (written === undefined || followed === undefined)
    return ['unknown', 'a side does not say its position', 'whether the newest history would be promoted is not known'];
  return written === followed
    ? ok(`both are of ${written}`)
    : [
        'failing',
        `${standby.site} is on ${followed}, ${primary.site} writes ${written}`,
        'an older history would be promoted',
      ];
}

/** Samples are stored every few seconds: much older ones say that nobody takes them any more. */
const OLD_SAMPLE_SECONDS = 60;

/** Whether what a failover would lose now is known and within the objective. */
export function judgeLoss(loss: LossEstimate, rpoSeconds: number): Judgement {
  const { certainty, seconds, sampleAgeSeconds, basis } = loss;
  if (certainty === 'unknown') return ['unknown', basis, 'approvers would be shown a loss that nobody knows'];
  if (seconds === null)
    return ['warning', `its time cannot be measured: ${basis}`, 'approvers would see bytes and no time'];
  const objective = `objective ${formatDuration(rpoSeconds * 1_000)}`;
  const found = `at most ${formatDuration(seconds * 1_000)} now, ${objective}`;
  if (seconds > rpoSeconds) return ['failing', found, 'more would be lost than was agreed'];
  return sampleAgeSeconds !== null && sampleAgeSeconds > OLD_SAMPLE_SECONDS
    ? [
        'warning',
        `${found}; the newest sample is ${formatDuration(sampleAgeSeconds * 1_000)} old`,
        'the bound grows with its age: see that watchReplication runs',
      ]
    : ok(found);
}

/** Whether a promotion there would succeed, besides the state of the standby itself. `noted`: the epoch in the store. */
export function judgeObstacles(obstacles: readonly string[], noted: number | null, nextEpoch: number): Judgement {
  const stale =
    noted !== null && noted > nextEpoch ? [`it holds epoch ${noted}, a failover would be ${nextEpoch}`] : [];
  const all = [...obstacles, ...stale];
  return all.length === 0
    ? ok('the account has the rights, and nothing is in the way')
    : ['failing', all.join('; '), 'the promotion would fail, with the old site fenced'];
}

/** Whether the site has room for what would be started there. */
export function judgeCapacity({ found, refused, homeless, unseen }: Capacity): Judgement {
  const lines = [...refused, ...homeless.map((each) => `no node has room for ${each}`), ...unseen];
  if (refused.length > 0)
    return ['failing', lines.join('; '), 'the API server would refuse these pods: services would not get ready'];
  if (homeless.length > 0)
    return [
      'warning',
      `${lines.join('; ')} (${found})`,
      'services would wait for nodes, unless something adds them in time',
    ];
  return unseen.length > 0 ? ['warning', lines.join('; '), 'whether services would find room is not known'] : ok(found);
}

/** A standby that is promoted keeps log for those that follow and are away, and takes all the writes. */
const [LOW_SHARE, LEAST_SHARE] = [0.15, 0.05];

export function judgeDisk({ freeBytes, totalBytes }: StoreDisk): Judgement {
  const share = freeBytes / totalBytes;
  const found = `${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} free (${Math.floor(100 * share)} %)`;
  if (share < LEAST_SHARE) return ['failing', found, 'the new primary would be full before long, and stop'];
  return share < LOW_SHARE
    ? ['warning', found, 'the new primary keeps log for a site that is away: make room']
    : ok(found);
}

/** Whether the standby could be given what only the log archive has, before its promotion. */
export function judgeCatchUp(lacking: readonly string[]): Judgement {
  return lacking.length === 0
    ? ok('what only the archive has would be replayed there first')
    : ['warning', lacking.join('; '), 'the failover would ask: retry, or skip and lose what only the archive has'];
}

/** Whether a promotion there would have to be forced, and why (`Replication.mustForce`). */
export function judgeMajority(mustForce: string | null): Judgement {
  return mustForce === null
    ? ok('a majority of the votes is elsewhere, and answers')
    : [
        'warning',
        mustForce,
        'no majority would survive: the failover stops until an approver attests a forced reconfiguration and the old primary ' +
          'is proven dead, and what only the lost members have is lost, also what a majority had acknowledged',
      ];
}

/** What the servers of the store at the site want to be mended; the first look at a failover is no time for it. */
export function judgeProblems({ problems }: StoreProbe): Judgement {
  return problems.length === 0
    ? ok('nothing to mend')
    : ['warning', problems.join('; '), 'it would serve in this state from then on'];
}

export function judgeService({ desiredReplicas, readyReplicas }: ServiceState, wanted: number): Judgement {
  const found = `it is defined there; ${readyReplicas} of ${desiredReplicas} replicas run, ${wanted} would be started`;
  return readyReplicas < desiredReplicas
    ? ['warning', found, 'those that run there now do not become ready: the others may not either']
    : ok(found);
}

/** What the zone itself says of a record that would be moved. */
export function judgeRecord(target: DnsTarget, activeSite: string, record: DnsRecord | null): Judgement {
  if (record === null) {
    return [
      'warning',
      `the zone has no ${target.type} record of this name`,
      'it would be created; nobody reaches it until then',
    ];
  }
  const wanted = target.valuesBySite[activeSite] ?? [];
  const answer = { server: '', values: record.values, ttlSeconds: record.ttlSeconds, problem: null };
  if (!hasValues(answer, target.type, wanted)) {
    return [
      'warning',
      `the zone has ${record.values.join(', ')}, the config ${wanted.join(', ')} for ${activeSite}`,
      `users do not reach ${activeSite} by it now; the step overwrites it`,
    ];
  }
  return record.ttlSeconds > target.ttlSeconds
    ? [
        'warning',
        `its TTL is ${formatDuration(record.ttlSeconds * 1_000)}, the config says ${formatDuration(target.ttlSeconds * 1_000)}`,
        `users may be sent to the old site for ${formatDuration(record.ttlSeconds * 1_000)}`,
      ]
    : ok(`${record.values.join(', ')}, TTL ${formatDuration(record.ttlSeconds * 1_000)}`);
}

/** Whether every authoritative server answers, and all of them the same. */
export function judgeAnswers(target: DnsTarget, activeSite: string, answers: readonly DnsAnswer[]): Judgement {
  const silent = answers.filter(({ problem }) => problem !== null);
  if (answers.length === 0 || silent.length > 0) {
    const found = silent.map(({ server, problem }) => `${server}: ${problem}`).join('; ') || 'no name server is known';
    return ['failing', found, 'the step waits until every authoritative server answers the new address'];
  }
  const wanted = target.valuesBySite[activeSite] ?? [];
  const others = answers.filter((answer) => !hasValues(answer, target.type, wanted));
  return others.length === 0
    ? ok(`${answers.length} authoritative servers answer ${wanted.join(', ')}`)
    : [
        'warning',
        others.map(({ server, values }) => `${server} answers ${values.join(', ')}`).join('; '),
        `the config says ${wanted.join(', ')} for ${activeSite}: the servers do not agree with it`,
      ];
}

/** Whether somebody could approve, whoever asks and whoever is away. */
export function judgeApprovers({ approvers, requesterMayApprove }: FailoverPolicy): Judgement {
  const names = [...new Set(approvers)];
  const [only, ...more] = names;
  if (only === undefined) return ['warning', 'the config names nobody', 'anybody could approve'];
  if (more.length > 0) return ok(names.join(', '));
  return requesterMayApprove
    ? ['warning', `only ${only}`, `nobody could approve while ${only} is away`]
    : ['warning', `only ${only}`, `nobody could approve while ${only} is away, or when ${only} asks for it`];
}

/** Whether services would find the files there; a copy that is not there is a matter of a restore, which the failover does not do. */
export function judgeFiles({ reachable, problems }: StoreProbe): Judgement {
  if (reachable && problems.length === 0) return ok('its directories are there and can be read');
  return [
    'warning',
    problems.join('; ') || 'none of its directories can be read',
    'services that need these files do not start: bring them there, or restore the newest backup of the store',
  ];
}

/** Whether the store's own fence does what it can; `siteFence` is the kind of the one that stands before it, null for none. */
export function judgeStoreFence({ strength, how, lacking }: FenceOutlook, siteFence: string | null): Judgement {
  const onTheDay =
    siteFence === null
      ? 'an approver has to attest that the old primary is dead'
      : `where the ${siteFence} does not answer either, an approver has to attest that the old primary is dead`;
  if (lacking.length > 0) return ['warning', `${strength}: ${lacking.join('; ')}`, onTheDay];
  if (strength === 'proven') return ok(`it would be proven: ${how}`);
  // What an engine cannot do by its nature is nothing to mend where something stronger stands before it.
  return siteFence === null
    ? ['warning', `${strength}: ${how}`, onTheDay]
    : ok(`${strength}: ${how}; the ${siteFence} is what proves it`);
}

/** Whether the store could be handed over without loss. A failover does not need it. */
export function judgeHandOver({ handOverLacks }: FenceOutlook, planned: boolean): Judgement {
  return handOverLacks.length === 0
    ? ok('the account has the rights')
    : [planned ? 'failing' : 'warning', handOverLacks.join('; '), SWITCHOVER_RETURNS];
}

export const SWITCHOVER_RETURNS =
  'a switchover would stop there and return, users unserved meanwhile; a failover goes on';

/** Services that would be stopped at the old site; `refused` says of each that could not be why. */
export function judgeOldServices(refused: readonly string[], count: number, planned: boolean): Judgement {
  return refused.length === 0
    ? ok(`${count} may be stopped and started again`)
    : [planned ? 'failing' : 'warning', refused.join('; '), SWITCHOVER_RETURNS];
}

/** Whether the old site could be fenced, and whether the one that takes over is fenced itself. */
export function judgeFence(kind: string, toSite: string, fencedByEpoch: number | null): Judgement {
  return fencedByEpoch === null
    ? ok(`the ${kind} answers`)
    : [
        'failing',
        `${toSite} itself is fenced since epoch ${fencedByEpoch}`,
        'its stores and services would be kept down: lift the fence once it follows again',
      ];
}

export const NO_FENCE: Judgement = [
  'warning',
  'the config has no fence of the site',
  'where a store cannot prove by itself that it refuses writes, an approver has to attest it',
];

export function judgeChannels(names: readonly string[]): Judgement {
  return names.length > 0
    ? ok(names.join(', '))
    : ['warning', 'the config has no channel', 'nobody would be told that an approval is waited for'];
}

export function judgeBackups(count: number): Judgement {
  return count > 0
    ? ok(`${count} there`)
    : ['warning', 'there is none', 'with the standby lost as well, nothing could be restored'];
}
