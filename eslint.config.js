// @ts-check
import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: [".venv*/", "outputs/", "training/runs/"] },
  js.configs.recommended,
  {
    files: ["app/assets/*.js"],
    languageOptions: { globals: globals.browser },
    rules: {
      // One helper makes elements (element.js): HTML put together from strings is how words from outside become markup.
      "no-restricted-syntax": ["error",
        { selector: "MemberExpression[property.name=/^(innerHTML|outerHTML|insertAdjacentHTML)$/]", message: "Use element() or serverMarkup() of element.js." },
        { selector: "AssignmentExpression[left.object.name=/^(window|globalThis)$/]", message: "No globals: export it." },
        { selector: "CallExpression[callee.name='setInterval']", message: "No polling: wait for an event, or observe (gradio.js)." },
      ],
    },
  },
  { files: ["tests/javascript/*.js", "*.config.js"], languageOptions: { globals: globals.node } },
  {
    rules: {
      "curly": ["error", "multi-line"],
      "eqeqeq": ["error", "always"],
      "no-implicit-globals": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "max-lines": ["error", 400],
    },
  },
];
