// Reads {name: diagram} from stdin and prints {name: type or error}, as mermaid's own parser says.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.argv[2] + "/");
const { JSDOM } = require("jsdom");
const { window } = new JSDOM("");
Object.assign(globalThis, { window, document: window.document });
const mermaid = (await import(pathToFileURL(process.argv[2] + "/node_modules/mermaid/dist/mermaid.core.mjs"))).default;

let text = "";
for await (const chunk of process.stdin) text += chunk;
const said = {};
for (const [name, diagram] of Object.entries(JSON.parse(text))) {
  try {
    said[name] = (await mermaid.parse(diagram)).diagramType;
  } catch (error) {
    said[name] = "error: " + error.message;
  }
}
console.log(JSON.stringify(said));
