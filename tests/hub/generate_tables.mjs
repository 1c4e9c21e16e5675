// Prints cards/proteinlm_hub/hub_tables.json: the ids that the Hub itself knows. From the root:
//   npm ci --prefix tests/hub
//   node tests/hub/generate_tables.mjs > cards/proteinlm_hub/hub_tables.json
import { readFileSync } from "node:fs";
import { language } from "@huggingface/languages";
import { EVALUATION_FRAMEWORKS, MODEL_LIBRARIES_UI_ELEMENTS, PIPELINE_DATA } from "@huggingface/tasks";

const read = (file) =>
  readFileSync(new URL(`node_modules/@huggingface/${file}`, import.meta.url), "utf8");
const version = (name) => JSON.parse(read(`${name}/package.json`)).version;

// The list of licences is published as a type only, and lags behind the Hub's documentation:
// https://huggingface.co/docs/hub/repositories-licenses
const newer = [
  "eupl-1.2",
  "fair-noncommercial-research-license",
  "grok2-community",
  "h-research",
  "intel-research",
  "llama4",
  "openmdw-1.0",
];
const licences = read("hub/dist/src/types/public.d.ts").match(/type License = ([^;]+);/)[1];

const letters = [..."abcdefghijklmnopqrstuvwxyz"];
const codes = letters.flatMap((first) => letters.map((second) => first + second));

const tables = {
  evaluation_frameworks: Object.keys(EVALUATION_FRAMEWORKS),
  languages: codes.filter((code) => language(code)),
  libraries: Object.keys(MODEL_LIBRARIES_UI_ELEMENTS),
  licences: [...new Set([...licences.matchAll(/"([^"]+)"/g)].map((match) => match[1]).concat(newer))],
  pipeline_tags: Object.keys(PIPELINE_DATA),
};
for (const ids of Object.values(tables)) ids.sort();
tables.sources = Object.fromEntries(
  ["hub", "languages", "tasks"].map((name) => [`@huggingface/${name}`, version(name)]),
);
console.log(JSON.stringify(tables, null, 1));
