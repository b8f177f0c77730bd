// The Solidity compiler of the npm package `solc` as brownie, forge and slither want it: an executable that answers
// `--version` and `--standard-json`. It is the JavaScript build, so it is the same on every machine and nothing is
// downloaded. scripts/install_solc.mjs puts it in place.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const solc = require("solc");

function valuesOf(option, args) {
  return args.flatMap((arg, at) => (arg === option ? [args[at + 1]] : arg.startsWith(`${option}=`) ? [arg.slice(option.length + 1)] : []));
}

/** Answers the compiler's imports from files under the base path, the include paths and the working directory. */
function importFrom(folders) {
  return (name) => {
    const found = folders.map((folder) => path.resolve(folder, name)).find((file) => fs.existsSync(file));
    return found ? { contents: fs.readFileSync(found, "utf8") } : { error: `File not found: ${name}` };
  };
}

function main(args) {
  if (args.includes("--version")) {
    // The official build's words: brownie, forge and slither each parse them.
    process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
    return;
  }
  if (!args.includes("--standard-json")) {
    throw new Error("solc: only --version and --standard-json are answered here.");
  }
  const folders = [...valuesOf("--base-path", args), ...valuesOf("--include-path", args), process.cwd()];
  const named = args[args.indexOf("--standard-json") + 1];
  const input = fs.readFileSync(named && !named.startsWith("-") && fs.existsSync(named) ? named : 0, "utf8");
  process.stdout.write(solc.compile(input, { import: importFrom(folders) }) + "\n");
}

main(process.argv.slice(2));
