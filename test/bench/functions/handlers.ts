/** The function that is measured everywhere: as little as a function can do, so that what remains is what runs it. */
export const NODE_SOURCE = 'exports.handler = async (event) => ({ ok: true, event });\n';
export const PYTHON_SOURCE = 'def handler(event, context):\n    return {"ok": True, "event": event}\n';

/** A source of about this size, since cold starts load more than one line. */
export function paddedNodeSource(bytes: number, salt: string): string {
  let source = `// ${salt}\n${NODE_SOURCE}`;
  for (let index = 0; source.length < bytes; index++) source += `exports.part${index} = (a, b) => ({ sum: a + b + ${index}, text: \`part \${a} of ${salt}\` });\n`;
  return source;
}

export function paddedPythonSource(bytes: number, salt: string): string {
  let source = `# ${salt}\n${PYTHON_SOURCE}`;
  for (let index = 0; source.length < bytes; index++) source += `def part${index}(a, b):\n    return {"sum": a + b + ${index}, "text": f"part {a} of ${salt}"}\n`;
  return source;
}
