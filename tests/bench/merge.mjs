// The published peer's restore: its own baseline, then its own merge.  Prints
// the milliseconds that the merge took.
import { captureDirectorySnapshot, mergeDirectoryWithBaseline }
  from "@paperclipai/adapter-utils/workspace-restore-merge";

const [baselineDir, sourceDir, targetDir] = process.argv.slice(2);
const baseline = await captureDirectorySnapshot(baselineDir);
const begin = performance.now();
await mergeDirectoryWithBaseline({ baseline, sourceDir, targetDir });
console.log(performance.now() - begin);
