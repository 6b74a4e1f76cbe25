import { figure, type Figure } from './figure';

/** The steps of role changes over several rounds, for information. */
export class StepTimes {
  private readonly kind: string;
  private readonly seconds = new Map<string, number[]>();

  constructor(kind: string) {
    this.kind = kind;
  }

  add(phases: readonly { readonly title: string; readonly seconds: number }[]): void {
    for (const phase of phases) {
      // Each round's lab has addresses of its own.
      const title = phase.title.replace(/\d+(\.\d+){3}/, 'dr');
      this.seconds.set(title, [...(this.seconds.get(title) ?? []), phase.seconds]);
    }
  }

  figures(): Figure[] {
    return [...this.seconds].map(([title, values]) => figure({ name: `${this.kind}: ${title}`, unit: 's', values }));
  }
}
