/** Runs `drctl <noun> …` when the file was started by itself (`npm run start:backup -- …`), nothing when it was imported. */
export function runAsScript(from: NodeJS.Module, noun: string): void {
  if (require.main !== from) return;
  // Loaded here: main imports the starters, and a starter that only is imported needs no main.
  const { main } = require('./main') as typeof import('./main');
  const { leave, processIo } = require('./io') as typeof import('./io');
  void main([noun, ...process.argv.slice(2)], processIo()).then(leave);
}
