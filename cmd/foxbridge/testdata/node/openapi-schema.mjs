// Holds openapi.json against the JSON Schema of the OpenAPI version that it names.

import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";

const validator = new Validator();
const { valid, errors } = await validator.validate(JSON.parse(readFileSync("openapi.json", "utf8")));
if (!valid || validator.version !== "3.1") {
  console.error(validator.version, JSON.stringify(errors));
  process.exit(1);
}
