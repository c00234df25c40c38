export const handler = async (event, context) => {
  console.log('called with', event);
  return { message: `Hello, ${event.name ?? 'world'}!`, runtime: `Node ${process.version}`, memory: context.memoryLimitInMB };
};
