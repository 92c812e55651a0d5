// Writes the models that Modelina makes of an AsyncAPI document: node modelina.cjs DOCUMENT LANGUAGE
const {readFileSync} = require('node:fs');
const {createRequire} = require('node:module');

const [, , file, language] = process.argv;
const made = createRequire(`${process.env.TOOLS}/`)('@asyncapi/modelina');
const generator = {kotlin: made.KotlinGenerator, typescript: made.TypeScriptGenerator, python: made.PythonGenerator};

new generator[language]().generate(JSON.parse(readFileSync(file, 'utf8')))
  .then((models) => models.forEach(({result}) => console.log(result, '\n')));
