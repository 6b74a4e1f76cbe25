import {
  allHandlersFinished,
  CancellationScope,
  condition,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { hasCode, failure } from '../core/errors';
import { unfencedStores, type FenceEvidence } from '../core/fencing';
import { failoverMarkdown } from '../core/failover-report';
import type { FailOverInput, FailOverOutcome, FailOverResult } from '../core/runs';
import type { Application } from '../core/application';
import type { SiteVerdict } from '../activities/primary';
import type { EndpointResult } from '../core/traffic';
import type { Json } from '../core/catalog';
import { control as anywhere, roleChange, roleChangeWithin, telling } from './activities';
import { FailoverControl } from './failover-control';
import { continueAt } from './new-lineage';
import { reasonOf } from './step-table';

/**
 * The unplanned failover of an application to another site, in the order of the runbook: confirm that the primary is down,
 * price the loss and wait for approval, take the epoch, fence, promote, start the services, move the name, verify through
 * it, archive the new lineage, tell people, report. Everything runs at the surviving site.
 *
 * Up to the promotion every step can be undone and an abort undoes them in reverse; from the promotion on there is only
 * the way forward (rule 2).
 */
export async function failOver(input: FailOverInput): Promise<FailOverResult> {
  const control = new FailoverControl(input);
  const {
    application: app,
    activeSite: fromSite,
    epoch: oldEpoch,
  } = await anywhere.describeApplication({ application: input.application });
  Object.assign(control, { fromSite, policy: app.failover });
  const run = new FailoverRun(input, app, fromSite, control);
  if (fromSite === input.toSite) {
    throw failure('RoleMismatch', `${input.toSite} is the active site of ${app.name} already`);
  }

  const verdict = await run.confirmPrimaryIsDown();
  if (verdict.healthy) return run.end('not necessary', `${fromSite} is healthy`);

  await run.priceTheLoss(verdict);
  const decision = await control.approval(() => run.escalate(), app.failover.escalateAfterSeconds);
  if (decision === 'rejected') return run.end('rejected', `${control.rejectedBy?.by}: ${control.rejectedBy?.reason}`);
  if (decision === 'aborted') return run.end('aborted', `${control.abortedBy?.by}: ${control.abortedBy?.reason}`);
  if ((await run.lookAgain()).healthy) return run.end('not necessary', `${fromSite} has recovered`);

  try {
    await run.takeEpoch(oldEpoch);
    await run.fence();
    control.pivotPassed = true;
    await run.promote();
    await run.startServices();
    await run.pointDns();
    await run.verify();
  } catch (error) {
    if (control.pivotPassed) throw error;
    await CancellationScope.nonCancellable(() => run.undo());
    if (hasCode(error, 'Aborted')) return run.end('aborted', reasonOf(error));
    await CancellationScope.nonCancellable(() => run.end('rolled back', reasonOf(error)));
    throw error;
  }
  await run.continueTheNewLineage();
  return run.end('completed', `${app.name} runs at ${input.toSite}`);
}

/** The chapters of the runbook, each with its steps in order. */
class FailoverRun {
  private readonly undoSteps: { id: string; title: string; work: () => Promise<unknown> }[] = [];
  private endpoints: EndpointResult[] = [];
  private verifiedAt: string | null = null;
  private readonly site: string;
  private readonly steps;
  private readonly at;
  private readonly input: FailOverInput;
  private readonly app: Application;
  private readonly fromSite: string;
  private readonly control: FailoverControl;

  constructor(input: FailOverInput, app: Application, fromSite: string, control: FailoverControl) {
    this.input = input;
    this.app = app;
    this.fromSite = fromSite;
    this.control = control;
    this.site = input.toSite;
    this.steps = control.steps;
    this.at = roleChange(app.name, input.toSite);
  }

  private get stores(): string[] {
    return this.app.stores.filter((store) => store.hasReplication).map((store) => store.name);
  }

  private get epoch(): number {
    if (this.control.epoch === null) throw failure('StaleEpoch', 'no epoch was taken');
    return this.control.epoch;
  }

  /** Several looks over time, from the surviving side: one failed probe proves nothing. */
  async confirmPrimaryIsDown(): Promise<SiteVerdict> {
    this.steps.enter('confirming');
    const { confirmProbes, confirmIntervalSeconds } = this.app.failover;
    return this.steps.run(
      'confirm',
      `Confirm that ${this.fromSite} is down (${confirmProbes} looks, ${confirmIntervalSeconds} s apart)`,
      async () => {
        for (let look = 1; ; look += 1) {
          const verdict = await this.at.probeSite({ application: this.app.name, site: this.fromSite });
          if (verdict.healthy || look >= confirmProbes) return verdict;
          await sleep(confirmIntervalSeconds * 1_000);
        }
      },
      (verdict) => (verdict.healthy ? 'it is healthy' : verdict.alive ? 'partly alive' : 'it is down'),
    );
  }

  async priceTheLoss(verdict: SiteVerdict): Promise<void> {
    const losses = await this.steps.run(
      'assess',
      'Measure what a failover would lose',
      () => this.at.assessLoss({ application: this.app.name, toSite: this.site }),
      (estimates) =>
        estimates
          .map(({ store, seconds }) => `${store}: ${seconds === null ? 'unknown' : `≤ ${seconds.toFixed(1)} s`}`)
          .join(', '),
    );
    this.control.card = {
      application: this.app.name,
      fromSite: this.fromSite,
      toSite: this.site,
      requestedBy: this.input.requestedBy,
      reason: this.input.reason,
      evidence: verdict.findings,
      losses,
      measuredAt: new Date().toISOString(),
      rtoSeconds: this.app.objectives.rtoSeconds,
      rpoSeconds: this.app.objectives.rpoSeconds,
    };
  }

  async escalate(): Promise<void> {
    this.steps.say('nobody has decided yet: escalated');
    await this.tell('escalate', 'critical', `Failover of ${this.app.name} waits for approval`, [
      `${this.fromSite} is down; ${this.input.requestedBy} asked to fail over to ${this.site}: ${this.input.reason}`,
      `Approve with: drctl failover approve --by <name>`,
    ]);
  }

  /** Approval may have taken long: a primary that recovered meanwhile is not taken away from its users. */
  async lookAgain(): Promise<SiteVerdict> {
    return this.steps.run(
      'look-again',
      `Look at ${this.fromSite} once more`,
      () => this.at.probeSite({ application: this.app.name, site: this.fromSite }),
      (verdict) => (verdict.healthy ? 'it has recovered' : 'still down'),
    );
  }

  async takeEpoch(expected: number): Promise<void> {
    const { workflowId, runId } = workflowInfo();
    this.steps.enter('fencing');
    const record = await this.control.step(
      'epoch',
      'Take the epoch: from here on steps of older role changes refuse',
      () =>
        anywhere.takeEpoch({
          application: this.app.name,
          expected,
          record: {
            activeSite: this.site,
            previousSite: this.fromSite,
            takenAt: new Date().toISOString(),
            reason: this.input.reason,
            workflowId,
            runId,
            approvedBy: this.control.approvedBy,
          },
        }),
      ({ epoch }) => `epoch ${epoch}`,
    );
    this.control.epoch = record?.epoch ?? null;
    upsertSearchAttributes({ DrEpoch: [this.epoch] });
    // An aborted failover leaves the old site active: a further epoch says so, because epochs are never taken back.
    this.undoSteps.unshift({
      id: 'undo:epoch',
      title: `Give the epoch back to ${this.fromSite}`,
      work: () =>
        anywhere.takeEpoch({
          application: this.app.name,
          expected: this.epoch,
          record: {
            activeSite: this.fromSite,
            previousSite: this.site,
            takenAt: new Date().toISOString(),
            reason: 'the failover was undone before anything was promoted',
            workflowId,
            runId,
            approvedBy: this.control.approvedBy,
          },
        }),
    });
  }

  /** Every fence at once; each undo is registered before its step, because a step that timed out may have happened. */
  async fence(): Promise<void> {
    const { app, fromSite: site, site: survivingSite, epoch, stores } = this;
    const application = app.name;
    for (const store of stores) {
      this.undoSteps.unshift({
        id: `undo:fence:${store}`,
        title: `Unfence ${store} at ${site}`,
        work: () => this.at.unfenceStore({ application, store, site, epoch }),
      });
    }
    this.undoSteps.unshift({
      id: 'undo:fence:site',
      title: `Unfence the site ${site}`,
      work: () => this.at.unfenceSite({ application, site, epoch }),
    });
    await this.control.step(
      'evidence',
      `Fence ${site} and prove it for every store`,
      async () => {
        // The site's own fence first: an engine can only prove what it sees once the site's writers are gone.
        const evidence: FenceEvidence[] = [await this.fenceSite()];
        evidence.push(
          ...(await Promise.all(
            stores.map((store) =>
              this.steps.run(
                `fence:${store}`,
                `Fence ${store} at ${site}`,
                () => this.at.fenceStore({ application, store, site, survivingSite, epoch }),
                ({ strength, how }) => `${strength}: ${how}`,
              ),
            ),
          )),
        );
        const { attestation } = this.control;
        if (attestation) evidence.push(this.attested(attestation));
        this.control.evidence = evidence;
        const unproven = unfencedStores(stores, evidence);
        if (unproven.length > 0) {
          throw failure('FencingUnconfirmed', `${site} is not proven to be fenced for ${unproven.join(', ')}`, {
            next: 'Retry, or let a named person attest that the site is dead: drctl failover attest --by <name> --reason <why>.',
          });
        }
      },
      () =>
        this.control.evidence
          .filter(({ strength }) => strength === 'proven' || strength === 'attested')
          .map(({ how }) => how)
          .join('; '),
    );
  }

  /** A site fence that cannot prove anything is no reason to stop: the stores' own proofs or an attestation may do. */
  private async fenceSite(): Promise<FenceEvidence> {
    const { fromSite: site, epoch } = this;
    const work = () => this.at.fenceSite({ application: this.app.name, site, epoch });
    try {
      return await this.steps.run(
        'fence:site',
        `Fence the site ${site}`,
        work,
        ({ strength, how }) => `${strength}: ${how}`,
      );
    } catch (error) {
      if (hasCode(error, 'StaleEpoch')) throw error;
      const how = reasonOf(error);
      return { strength: 'none', site, stores: [], epoch, at: new Date().toISOString(), how, by: 'drctl' };
    }
  }

  private attested({ by, reason, at }: { by: string; reason: string; at: string }): FenceEvidence {
    const how = `${by} attests: ${reason}`;
    return { strength: 'attested', site: this.fromSite, stores: this.stores, epoch: this.epoch, at, how, by };
  }

  async promote(): Promise<void> {
    this.steps.enter('promoting');
    const { site, epoch } = this;
    const { evidence } = this.control;
    await Promise.all(
      this.stores.map((store) =>
        this.control.step(
          `promote:${store}`,
          `Promote ${store} at ${site}`,
          () => this.at.promoteStore({ application: this.app.name, store, site, epoch, evidence }),
          ({ position, already }) => `${already ? 'was promoted already' : 'promoted'} at ${position.value}`,
        ),
      ),
    );
  }

  /** Groups in the order of their dependencies; the services of a group together. */
  async startServices(): Promise<void> {
    this.steps.enter('starting services');
    const { site, epoch } = this;
    const within = roleChangeWithin(this.app.name, site, this.app.failover.servicesReadySeconds);
    for (const group of this.app.serviceGroups) {
      await Promise.all(
        group.services.map(({ name: service, replicas }) =>
          this.control.step(
            `service:${service}`,
            `Start ${service} at ${site}`,
            () => within.startService({ application: this.app.name, site, service, replicas, epoch }),
            ({ readyReplicas }) => `${readyReplicas} ready`,
          ),
        ),
      );
    }
  }

  async pointDns(): Promise<void> {
    this.steps.enter('moving the name');
    const { site, epoch } = this;
    const within = roleChangeWithin(this.app.name, site, this.app.failover.dnsPropagationSeconds);
    for (const target of this.app.dns) {
      await this.control.step(
        `dns:${target.name}`,
        `Point ${target.name} to ${(target.valuesBySite[site] ?? []).join(', ')}`,
        () => within.pointDns({ application: this.app.name, site, target, epoch }),
        (answers) => `${answers.length} authoritative servers answer so`,
      );
    }
  }

  /** From outside, through the new record, and one write through each store. */
  async verify(): Promise<void> {
    this.steps.enter('verifying');
    const { site, epoch } = this;
    const expectAddresses = this.app.dns.flatMap((target) => target.valuesBySite[site] ?? []);
    const marker = workflowInfo().runId;
    const endpoints = this.app.endpoints.map((check) =>
      this.control.step(
        `verify:${check.method} ${check.url}`,
        `${check.method} ${check.url} through the new record`,
        () => this.at.verifyEndpoint({ application: this.app.name, check, expectAddresses }),
        ({ status, milliseconds, address }) => `${status} from ${address} in ${milliseconds} ms`,
      ),
    );
    const writes = this.stores.map((store) =>
      this.control.step(
        `verify:${store}`,
        `Write to ${store} and read it back`,
        () => this.at.probeWrite({ application: this.app.name, store, site, epoch, marker }),
        ({ roundTripMilliseconds }) => `${Math.round(roundTripMilliseconds)} ms`,
      ),
    );
    const results = await Promise.all(endpoints);
    await Promise.all(writes);
    this.endpoints = results.filter((result) => result !== null);
    this.verifiedAt = new Date().toISOString();
  }

  /** A promoted store writes a new history: its log and a base backup are wanted at once. */
  async continueTheNewLineage(): Promise<void> {
    this.steps.enter('archiving the new lineage');
    await this.control.step('lineage', `Archive and back up from ${this.site}`, () =>
      continueAt(this.app, this.site, this.epoch),
    );
  }

  /** Undoes in reverse what was registered, each on its own: one that fails must not keep the others from being undone. */
  async undo(): Promise<void> {
    this.steps.enter('undoing');
    for (const store of this.stores) {
      const may = await this.at.mayBePromoted({
        application: this.app.name,
        store,
        site: this.site,
        epoch: this.control.epoch ?? 0,
      });
      if (may) {
        this.steps.say(`${store} at ${this.site} may be writable: nothing is unfenced (rule 2)`);
        return;
      }
    }
    for (const { id, title, work } of this.undoSteps) {
      try {
        await this.steps.run(id, title, work);
      } catch (error) {
        this.steps.say(`${title} failed: ${reasonOf(error)}`);
      }
    }
  }

  async end(outcome: FailOverOutcome, reason: string): Promise<FailOverResult> {
    const { control, app } = this;
    control.outcome = outcome;
    await this.tell('end', outcome === 'completed' ? 'warning' : 'info', `Failover of ${app.name}: ${outcome}`, [
      reason,
    ]);
    const approvalToVerifiedSeconds =
      control.approvedAt && this.verifiedAt
        ? (Date.parse(this.verifiedAt) - Date.parse(control.approvedAt)) / 1_000
        : null;
    const result: FailOverResult = {
      outcome,
      reason,
      epoch: control.epoch,
      approvedBy: control.approvedBy,
      fromSite: this.fromSite,
      toSite: this.site,
      losses: control.card?.losses ?? [],
      evidence: control.evidence,
      endpoints: this.endpoints,
      steps: this.steps.steps.map((step) => ({ ...step })),
      approvalToVerifiedSeconds,
      reportKey: null,
    };
    const id = `failover-${workflowInfo().runId}`;
    const reportKey = await this.control.step('notify:report', 'Store the report', () =>
      anywhere.storeReport({
        application: app.name,
        id,
        content: JSON.parse(JSON.stringify(result)) as Json,
        markdown: failoverMarkdown(app.name, this.input, result),
      }),
    );
    await condition(allHandlersFinished);
    this.steps.finish(outcome);
    return { ...result, steps: this.steps.steps.map((step) => ({ ...step })), reportKey };
  }

  private async tell(
    id: string,
    severity: 'info' | 'warning' | 'critical',
    title: string,
    lines: string[],
  ): Promise<void> {
    const at = new Date().toISOString();
    await this.control.step(
      `notify:${id}`,
      `Tell people: ${title}`,
      () =>
        telling(this.app.name, this.site).notify({
          id: `${workflowInfo().runId}:${id}:${this.steps.messages.length}`,
          application: this.app.name,
          severity,
          title,
          lines,
          at,
          fields: { kind: 'failover', from: this.fromSite, to: this.site },
        }),
      (deliveries) =>
        deliveries.length === 0
          ? 'no channel is configured'
          : deliveries
              .map(({ channel, delivered, problem }) => `${channel}: ${delivered ? 'told' : problem}`)
              .join(', '),
    );
  }
}
