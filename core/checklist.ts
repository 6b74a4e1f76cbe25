/** The lists of the strategy ("Backup & DR Checklist"), each begun by a schedule of its own. */
export const CHECKLIST_PERIODS = ['daily', 'weekly', 'monthly', 'quarterly'] as const;
export type ChecklistPeriod = (typeof CHECKLIST_PERIODS)[number];

/**
 * What a machine can look at. Each name has a function in `workflows/checklist/checks.ts`, which is all that a further one
 * needs besides its name here.
 */
export const CHECK_NAMES = [
  'backups',
  'read-proofs',
  'restore-proofs',
  'objectives',
  'capacity',
  'replication',
  'dr-site',
  'dr-network',
  'drill',
  'readiness-report',
] as const;
export type CheckName = (typeof CHECK_NAMES)[number];

export interface ChecklistItem {
  /** Stable, and one of its list: what `drctl checklist sign` takes. */
  readonly id: string;
  readonly title: string;
  /** What is to be looked at, for the person who signs and for the one who audits. */
  readonly what: string;
  /** Null where only a person can tell. */
  readonly check: CheckName | null;
  /** Whether a person has to sign, also where the check holds. One that fails waits for a person, or until it holds. */
  readonly sign: boolean;
}

/** One list as the config wants it: what is on it, and how long people have. */
export interface ChecklistPlan {
  readonly period: ChecklistPeriod;
  readonly items: readonly ChecklistItem[];
  readonly remindSeconds: number;
  readonly escalateSeconds: number;
  readonly dueSeconds: number;
  /** Who may sign; empty: anybody. */
  readonly signers: readonly string[];
}

/** What a check found. `holds` is false as well for what could not be seen: that is not known to be well. */
export interface Finding {
  readonly holds: boolean;
  /** The evidence, in one line. */
  readonly found: string;
}

/** `open`: waits for a person. `failing`: so does it, unless it holds when it is looked at again. */
export type ItemState = 'open' | 'failing' | 'passed' | 'signed';

export interface ItemStatus extends ChecklistItem {
  readonly state: ItemState;
  /** Null before it was looked at, and where there is nothing that a machine could look at. */
  readonly finding: Finding | null;
  readonly lookedAt: string | null;
  readonly signedBy: string | null;
  readonly note: string | null;
  readonly signedAt: string | null;
}

export const notYet = (item: ChecklistItem): ItemStatus => ({
  ...item,
  state: 'open',
  finding: null,
  lookedAt: null,
  signedBy: null,
  note: null,
  signedAt: null,
});

export function looked(item: ItemStatus, finding: Finding, at: string): ItemStatus {
  // A signature is a person's word about what was found then: what is found later does not take it back.
  if (item.state === 'signed') return item;
  return { ...item, finding, lookedAt: at, state: !finding.holds ? 'failing' : item.sign ? 'open' : 'passed' };
}

export const isOpen = ({ state }: ItemStatus): boolean => state === 'open' || state === 'failing';

/** Signed although its check did not hold: a person took it on, and whoever reads the report has to see it. */
export const isException = ({ state, finding }: ItemStatus): boolean => state === 'signed' && finding?.holds === false;

/** Why this person may not sign this item now; null where they may. */
export function whyNotSign(
  items: readonly ItemStatus[],
  signers: readonly string[],
  { by, step, reason }: { readonly by: string; readonly step?: string; readonly reason?: string },
): string | null {
  const item = items.find(({ id }) => id === step);
  if (!item) return `there is no item "${step ?? ''}" on this list; it has ${items.map(({ id }) => id).join(', ')}`;
  if (item.state === 'signed') return `${item.id} is signed already, by ${item.signedBy}`;
  if (item.state === 'passed') return `${item.id} holds and needs no signature: ${item.finding?.found ?? ''}`;
  if (!reason?.trim()) return `say with a note what was looked at for ${item.id}`;
  if (signers.length > 0 && !signers.includes(by)) return `${by} may not sign; these may: ${signers.join(', ')}`;
  return null;
}

/** One line of an item: the evidence and the signature. */
export function evidenceOf({ finding, signedBy, note }: ItemStatus): string | null {
  const parts = [finding?.found, signedBy === null ? null : `signed by ${signedBy}: ${note}`].filter((each) => each);
  return parts.length > 0 ? parts.join('; ') : null;
}

/** What an item still wants, or an auditor has to know of it. */
export function concernOf(item: ItemStatus): string {
  if (isException(item)) return `${item.title}: signed by ${item.signedBy} although: ${item.finding?.found}`;
  return item.state === 'failing'
    ? `${item.title}: ${item.finding?.found ?? 'not looked at'}`
    : `${item.title}: nobody has signed it`;
}
