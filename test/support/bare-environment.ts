/**
 * Of processes that tests start. The test runner watches its own by NODE_OPTIONS, and writes down at their end what they loaded:
 * in ours that is no part of the program, costs its start, and fails where no file may grow.
 */
export const bareEnvironment: NodeJS.ProcessEnv = { ...process.env, NODE_OPTIONS: undefined };
