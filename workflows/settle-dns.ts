import { sleep } from '@temporalio/workflow';
import {
  type MovedName,
  type NameSettled,
  recordLabel,
  type SettleDnsInput,
  type SettleDnsResult,
} from '../core/dns-moves';
import { hasCode, reasonOf } from '../core/errors';
import { workflowIds } from '../core/names';
import { type DnsAnswer, hasValues } from '../core/traffic';
import type { DnsLook } from '../activities/dns';
import type { DnsTarget } from '../core/application';
import { roleChange, telling } from './proxies';
import { StepTable, wasCancelled } from './step-table';

/** The first looks are this far apart; later ones a tenth of the time since the change, so that a day costs a hundred. */
const FIRST_LOOKS_SECONDS = 1;
const LOOK_SHARE = 1 / 10;
/** A resolver that counts in whole seconds, and one that was asked a moment before the name servers changed. */
const GRACE_SECONDS = 30;

/**
 * After a role change: watches the public names until no cache may hold the old values any more, and tells people what still
 * answers them then. Nobody waits for it: every authoritative server had changed before it began. Resolvers are asked for
 * people's sake; what one of them says proves nothing about the others, so the old TTL is waited out whatever they say. TTLs
 * that were lowered for the move get their old values back at the end.
 */
export async function settleDns(input: SettleDnsInput): Promise<SettleDnsResult> {
  const { application, epoch } = input;
  const steps = new StepTable('settle', application);
  steps.enter('waiting out the old TTL');
  try {
    const names = await Promise.all(
      input.names.map((moved) =>
        steps.run(
          `settle:${recordLabel(moved.target)}`,
          `Watch ${recordLabel(moved.target)} until ${moved.staleUntil.slice(0, 19)}Z`,
          () => settleName(input, moved),
          inWords,
        ),
      ),
    );
    await restoreTtls(input, steps);
    const left = names.flatMap((name) => whatIsLeft(name).map((each) => `${recordLabel(name)}: ${each}`));
    if (left.length > 0) {
      await telling(application).notify({
        id: workflowIds.settle(application, epoch),
        application,
        severity: 'warning',
        title: `Not everybody sees ${application} at ${input.site} yet`,
        lines: [...left, 'The old TTL is over: these resolvers or servers keep answers for longer than they may.'],
        at: new Date().toISOString(),
        fields: { kind: 'settle', to: input.site },
      });
    }
    const outcome = left.length > 0 ? 'not everywhere' : 'settled';
    steps.finish(outcome);
    return { outcome, names };
  } catch (error) {
    if (!hasCode(error, 'StaleEpoch')) throw error;
    steps.say(`a newer role change moves the names now: ${reasonOf(error)}`);
    steps.finish('overtaken');
    return { outcome: 'overtaken', names: [] };
  }
}

interface Seen {
  changedAfterSeconds: number | null;
  answers: string;
}

async function settleName(input: SettleDnsInput, { target, changedAt, staleUntil }: MovedName): Promise<NameSettled> {
  const values = target.valuesBySite[input.site] ?? [];
  const isNew = (answer: DnsAnswer) => hasValues(answer, target.type, values);
  const resolvers = new Map<string, Seen>();
  let notAuthoritative: readonly string[] = [];
  for (;;) {
    const look = await lookAt(input, target);
    const seconds = Math.max(0, (Date.now() - Date.parse(changedAt)) / 1_000);
    if (typeof look === 'string') notAuthoritative = [look];
    else {
      notAuthoritative = look.authoritative
        .filter((each) => !isNew(each))
        .map((each) => `${each.server}: ${said(each)}`);
      for (const answer of look.resolvers) {
        const before = resolvers.get(answer.server)?.changedAfterSeconds ?? null;
        const changedAfterSeconds = isNew(answer) ? (before ?? Math.round(seconds * 10) / 10) : null;
        resolvers.set(answer.server, { changedAfterSeconds, answers: said(answer) });
      }
    }
    const leftMilliseconds = Date.parse(staleUntil) - Date.now();
    const allNew =
      notAuthoritative.length === 0 && [...resolvers.values()].every((each) => each.changedAfterSeconds !== null);
    if (leftMilliseconds <= 0 && (allNew || leftMilliseconds <= -GRACE_SECONDS * 1_000)) break;
    const next = Math.max(FIRST_LOOKS_SECONDS, seconds * LOOK_SHARE) * 1_000;
    // Neither beyond the end of the TTL nor beyond the grace after it.
    const end = leftMilliseconds > 0 ? leftMilliseconds : leftMilliseconds + GRACE_SECONDS * 1_000;
    await sleep(Math.max(FIRST_LOOKS_SECONDS * 1_000, Math.min(next, end)));
  }
  return {
    name: target.name,
    type: target.type,
    waitedUntil: new Date().toISOString(),
    notAuthoritative,
    resolvers: [...resolvers].map(([resolver, seen]) => ({ resolver, ...seen })),
  };
}

/** The answers, or in words why there was no look: the next one makes good for it, and the last one is told. */
async function lookAt({ application, site, epoch }: SettleDnsInput, target: DnsTarget): Promise<DnsLook | string> {
  try {
    return await roleChange(application, site).lookAtDns({ application, target, epoch });
  } catch (error) {
    if (wasCancelled(error) || hasCode(error, 'StaleEpoch')) throw error;
    return `nobody could be asked: ${reasonOf(error)}`;
  }
}

const said = ({ values, problem }: DnsAnswer) => problem ?? values.join(', ');

function whatIsLeft({ notAuthoritative, resolvers }: NameSettled): string[] {
  const old = resolvers.filter(({ changedAfterSeconds }) => changedAfterSeconds === null);
  return [
    ...notAuthoritative.map((each) => `name server ${each}`),
    ...old.map(({ resolver, answers }) => `resolver ${resolver}: ${answers}`),
  ];
}

function inWords(name: NameSettled): string {
  const changed = name.resolvers.filter(({ changedAfterSeconds }) => changedAfterSeconds !== null);
  const when = changed.map(({ resolver, changedAfterSeconds }) => `${resolver} after ${changedAfterSeconds} s`);
  const left = whatIsLeft(name);
  const asked = name.resolvers.length === 0 ? ['no resolvers are configured'] : when;
  return [...asked, ...(left.length > 0 ? [`NOT: ${left.join('; ')}`] : [])].join(', ');
}

/** Lowered for the move that is over: a low TTL for ever only costs queries, so that it cannot be restored is told and no more. */
async function restoreTtls({ application, site, epoch, names }: SettleDnsInput, steps: StepTable): Promise<void> {
  for (const { target } of names) {
    const label = recordLabel(target);
    try {
      const restored = await roleChange(application, site).restoreTtl({ application, target, epoch });
      if (restored) steps.say(`the TTL of ${label} is ${restored.previousTtlSeconds} s again`);
    } catch (error) {
      if (hasCode(error, 'StaleEpoch')) throw error;
      steps.say(`the TTL of ${label} stays lowered: ${reasonOf(error)}; restore it with \`drctl dns restore-ttl\``);
    }
  }
}
