/**
 * Every class of error that a person can meet, in one table. The name is the stable code: it is the `type` of the
 * Temporal failure, the `code` in `--output json`, and it picks the exit status of `drctl`. Scripts may rely on both.
 *
 * `data` says what the error means for the data when the place that raises it knows nothing better; `next` what to do.
 */
export const FAILURES = {
  ConfigInvalid: {
    retryable: false,
    exitCode: 2,
    data: 'Nothing was changed.',
    next: 'Correct the named field and run `drctl config check`.',
  },
  UsageInvalid: {
    retryable: false,
    exitCode: 2,
    data: 'Nothing was changed.',
    next: 'See `drctl <command> --help`.',
  },
  NotFound: {
    retryable: false,
    exitCode: 3,
    data: 'Nothing was changed.',
    next: 'List what exists, then call again with a name from the list.',
  },
  TargetUnreachable: {
    retryable: true,
    exitCode: 10,
    data: 'Nothing was changed by this step.',
    next: 'Check that the server runs and that the network lets this worker reach it.',
  },
  RepositoryUnavailable: {
    retryable: true,
    exitCode: 11,
    data: 'Backups already committed are not affected.',
    next: 'Check the endpoint, the bucket and the network of the repository.',
  },
  AccessDenied: {
    retryable: false,
    exitCode: 12,
    data: 'Nothing was changed by this step.',
    next: 'Check the credentials named in the config and what they are allowed to do.',
  },
  DiskFull: {
    retryable: true,
    exitCode: 13,
    data: 'Backups already committed are not affected.',
    next: 'Free space at the named path; a step that is still tried goes on by itself, otherwise start it again.',
  },
  ToolMissing: {
    retryable: false,
    exitCode: 14,
    data: 'Nothing was changed.',
    next: 'Install the named program on the worker, or name its folder in the config.',
  },
  BackupCorrupt: {
    retryable: false,
    exitCode: 20,
    data: 'The named artifact must not be restored from.',
    next: 'Restore from another backup or another copy, and take a new full backup now.',
  },
  PitrTargetUnreachable: {
    retryable: false,
    exitCode: 21,
    data: 'Nothing was restored.',
    next: 'Choose a target inside the range that is named.',
  },
  TargetNotEmpty: {
    retryable: false,
    exitCode: 22,
    data: 'What is there was not touched.',
    next: 'Choose an empty place for the restore.',
  },
  LogGap: {
    retryable: false,
    exitCode: 23,
    data: 'Points in time after the gap cannot be reached from backups before it.',
    next: 'A new full backup closes it; it is started by itself where archiving is on.',
  },
  BackupIncomplete: {
    retryable: true,
    exitCode: 24,
    data: 'No backup was committed; earlier backups are not affected.',
    next: 'The next attempt starts again from the beginning.',
  },
  IncrementalRefused: {
    retryable: false,
    exitCode: 28,
    data: 'No backup was committed; earlier backups are not affected.',
    next: 'Take a full backup: a run of the workflow does so by itself.',
  },
  VerificationFailed: {
    retryable: false,
    exitCode: 25,
    data: 'What was restored does not equal what was backed up.',
    next: 'Keep the restored place for inspection and restore from another backup.',
  },
  DeletionRefused: {
    retryable: false,
    exitCode: 26,
    data: 'Nothing was deleted.',
    next: 'Look at `drctl retention plan`; allow a larger share only when that is what you want.',
  },
  CheckFailed: {
    retryable: false,
    exitCode: 27,
    data: 'The restored copy was left as it is for inspection; the source was not touched.',
    next: 'Look at the restored copy: either it is not what you wanted, or the check in the config is wrong.',
  },
  KeyUnavailable: {
    retryable: false,
    exitCode: 29,
    data: 'What is encrypted with this data key cannot be read or written here; nothing was changed.',
    next: 'Run `drctl keys check` where the named recipients can be used; else bring the break-glass key (docs/encryption.md).',
  },
  FencingUnconfirmed: {
    retryable: false,
    exitCode: 31,
    data: 'Nothing was promoted: two writable primaries would lose data on both sides.',
    next: 'Fence the old primary, or have a named person attest that it is dead.',
  },
  ApprovalTimedOut: {
    retryable: false,
    exitCode: 32,
    data: 'Nothing was promoted.',
    next: 'Start again when an approver is available.',
  },
  ApprovalRejected: {
    retryable: false,
    exitCode: 33,
    data: 'Nothing was promoted.',
    next: 'See the reason that was given.',
  },
  ApprovalOutdated: {
    retryable: false,
    exitCode: 30,
    data: 'Nothing was changed: the failover waits for another approval.',
    next: 'Look at the new card with `drctl failover status`, then decide again.',
  },
  Aborted: {
    retryable: false,
    exitCode: 34,
    data: 'Steps already taken were undone in reverse order.',
    next: 'See `drctl failover status` for what was undone.',
  },
  PromotionFailed: {
    retryable: true,
    exitCode: 35,
    data: 'The old primary stays fenced; the replica may or may not be promoted yet.',
    next: 'Look at the replica, then let the step be tried again.',
  },
  MajorityLost: {
    retryable: false,
    exitCode: 45,
    data: 'This store was not promoted: those of its members that are left are no majority and elect nobody. Nothing of it was changed.',
    next: 'Bring a member outside the lost site back and retry; where they are lost for good an approver may force it: drctl failover force --by <name> --reason <why>.',
  },
  StaleEpoch: {
    retryable: false,
    exitCode: 36,
    data: 'Nothing was changed: a newer role change has taken over.',
    next: 'Look at the newer role change with `drctl failover status`.',
  },
  RoleMismatch: {
    retryable: false,
    exitCode: 37,
    data: 'Nothing was changed.',
    next: 'Check which site is active with `drctl status`.',
  },
  TrafficNotSwitched: {
    retryable: true,
    exitCode: 38,
    data: 'The data is safe at the new site; users may still be sent to the old one.',
    next: 'Check the DNS zone and its name servers.',
  },
  ServiceNotReady: {
    retryable: true,
    exitCode: 39,
    data: 'The data is safe; the service does not answer yet.',
    next: 'Look at the log of the named service.',
  },
  NotReady: {
    retryable: false,
    exitCode: 41,
    data: 'Nothing was changed.',
    next: 'Mend what is named, then look again with `drctl plan failover --dry-run`.',
  },
  LockHeld: {
    retryable: true,
    exitCode: 40,
    data: 'Nothing was changed.',
    next: 'Another run owns it: wait for it or look at it in the Web UI.',
  },
  SwitchoverRefused: {
    retryable: false,
    exitCode: 42,
    data: 'Nothing was changed.',
    next: 'Mend what is named and start the switchover again; where the active site is lost, `drctl failover start` is the way.',
  },
  HandOverIncomplete: {
    retryable: true,
    exitCode: 43,
    data: 'Nothing was promoted and nothing is lost: the old primary has everything, and takes no writes.',
    next: 'See why the standby does not catch up; past its time limit the switchover undoes itself.',
  },
  CatchUpIncomplete: {
    retryable: false,
    exitCode: 49,
    data: 'Nothing was promoted. The archived log has changes that the standby has not.',
    next: 'Mend what is named and retry; or skip the step: what only the archive has is then not promoted.',
  },
  HookFailed: {
    retryable: true,
    exitCode: 54,
    data: 'What the role change itself does to the data is not affected: it waits, or goes on as the config says.',
    next: 'See what the program or the receiver of the webhook says; retry, or skip the step with a reason.',
  },
  SwitchoverTimedOut: {
    retryable: false,
    exitCode: 44,
    data: 'Nothing was promoted; what had been done was undone.',
    next: 'See in the report which step took that long, or raise `failover.switchover.within`.',
  },
  NotSafe: {
    retryable: false,
    exitCode: 46,
    data: 'A loss now would cost more than was agreed, or nobody knows how much.',
    next: 'See `drctl status` for what is wrong with which store.',
  },
  LifecycleRefused: {
    retryable: false,
    exitCode: 47,
    data: 'The rules of the bucket were not changed.',
    next: 'Look at `drctl lifecycle plan`, then correct `lifecycle` or `retention` in the config, or the rule that is named.',
  },
  ObjectFrozen: {
    retryable: false,
    exitCode: 48,
    data: 'Nothing is lost: it can be read hours after it was asked back.',
    next: 'Restore with `drctl restore`: it asks the whole chain back, waits for it and goes on by itself.',
  },
  IsolationUnproven: {
    retryable: false,
    exitCode: 52,
    data: 'Nothing of the application was started in the drill: production was not touched.',
    next: 'Close the way that is named (a network policy, a route), then start the drill again.',
  },
  DrillFailed: {
    retryable: false,
    exitCode: 53,
    data: 'Production was not touched; what the drill made was removed unless its report says otherwise.',
    next: 'See what did not hold with `drctl drill show`, mend it, and hold another drill.',
  },
  TemporalUnavailable: {
    retryable: true,
    exitCode: 50,
    data: 'Workflows that run are durable and go on by themselves once it is back.',
    next: 'Check the address in the config and that Temporal runs.',
  },
  NotificationFailed: {
    retryable: true,
    exitCode: 51,
    data: 'No data is affected.',
    next: 'Check the channel; nothing waits for it.',
  },
} as const satisfies Record<string, FailureClass>;

interface FailureClass {
  readonly retryable: boolean;
  readonly exitCode: number;
  readonly data: string;
  readonly next: string;
}

export type FailureCode = keyof typeof FAILURES;
