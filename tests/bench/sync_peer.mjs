// The published peer's merge of what a sandbox changed, as sync.py times it.
//
//	node sync_peer.mjs SOURCE TARGET
//
// SOURCE is the sandbox's folder, fetched and unpacked.  TARGET is the host's,
// still as it was when the baseline was taken; so it is taken here.  Prints
// the seconds that the merge alone took.
import {
	captureDirectorySnapshot,
	mergeDirectoryWithBaseline,
} from "@paperclipai/adapter-utils/workspace-restore-merge";

const [sourceDir, targetDir] = process.argv.slice(2);
const baseline = await captureDirectorySnapshot(targetDir, {
	exclude: [".paperclip-runtime"],
});
const begin = performance.now();
await mergeDirectoryWithBaseline({ baseline, sourceDir, targetDir });
console.log((performance.now() - begin) / 1000);
