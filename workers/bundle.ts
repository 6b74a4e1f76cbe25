import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleWorkflowCode, DefaultLogger, type WorkflowBundleOption } from '@temporalio/worker';

/** Written by `npm run build`: a worker that loads it starts four seconds sooner, and runs what was tested. */
const BUNDLE = join(__dirname, '..', 'workflow-bundle.js');

/** The bundle of the build; without one (a checkout that was only compiled) it is made now. */
export async function workflowBundle(): Promise<WorkflowBundleOption> {
  return existsSync(BUNDLE)
    ? { codePath: BUNDLE }
    : bundleWorkflowCode({ workflowsPath: require.resolve('../workflows') });
}

async function main(): Promise<void> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: require.resolve('../workflows'),
    logger: new DefaultLogger('WARN'),
  });
  await writeFile(BUNDLE, code);
}

if (require.main === module) {
  main().catch((error: unknown) => {
    process.stderr.write(`bundling the workflows failed: ${String(error)}\n`);
    process.exitCode = 1;
  });
}
