// Forge with its exit status. npm's own `forge` command starts the same binary but always exits 0, so neither a failed
// test nor `forge fmt --check` would stop anything.
//   node scripts/forge.mjs test
//   node scripts/forge.mjs fmt --check

import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";

const system = { darwin: "darwin", linux: "linux", win32: "win32" }[process.platform];
const machine = { arm64: "arm64", x64: "amd64" }[process.arch];
const name = process.platform === "win32" ? "forge.exe" : "forge";
// Beside the launcher, whose platform package npm installed by the same rules.
const launcher = createRequire(import.meta.url).resolve("@foundry-rs/forge/package.json");
const binary = path.join(path.dirname(launcher), "..", `forge-${system}-${machine}`, "bin", name);

const { status, error } = spawnSync(binary, process.argv.slice(2), { stdio: "inherit" });
if (error) {
  console.error(`forge cannot be started: ${error.message}. Run: npm ci`);
}
process.exit(status ?? 1);
