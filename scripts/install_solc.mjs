// Puts the compiler where SOLCX_BINARY_PATH (brownie, slither) and foundry.toml (forge) look for it: .solcx/solc-v0.8.37.
//   node scripts/install_solc.mjs

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const { version } = createRequire(import.meta.url)("solc/package.json");
const target = path.join(root, ".solcx", `solc-v${version}`);
const wrapper = path.join(root, "scripts", "solc.cjs");

fs.mkdirSync(path.dirname(target), { recursive: true });
fs.writeFileSync(target, `#!/usr/bin/env node\nrequire(${JSON.stringify(wrapper)});\n`, { mode: 0o755 });
console.log(`${path.relative(root, target)} -> scripts/solc.cjs`);
