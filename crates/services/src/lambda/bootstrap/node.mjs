// The Node.js runtime of Passo's Lambda: speaks the Lambda Runtime API and calls the user's handler.
// Paths of the bundle are shown as /var/task, as on AWS.

import http from "node:http";
import fs from "node:fs";
import path from "node:path";
import util from "node:util";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const taskRoot = process.env.LAMBDA_TASK_ROOT;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function ask(method, resource, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { host, port, method, agent, path: `/2018-06-01/runtime/${resource}`, headers };
    if (body !== undefined) headers["Content-Length"] = Buffer.byteLength(body);
    const request = http.request(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

const shown = (text) => String(text).split(taskRoot).join("/var/task");

function describe(error) {
  if (error instanceof Error) {
    const trace = shown(error.stack || "").split("\n");
    return { errorType: error.name, errorMessage: shown(error.message), trace };
  }
  return { errorType: typeof error, errorMessage: shown(error), trace: [] };
}

function fault(errorType, errorMessage) {
  const error = new Error(errorMessage);
  error.name = errorType;
  return error;
}

let requestId = "";
function log(level, stream, values) {
  const text = util.format(...values).replace(/\n/g, "\r");
  stream.write(`${new Date().toISOString()}\t${requestId || "undefined"}\t${level}\t${text}\n`);
}
console.log = (...values) => log("INFO", process.stdout, values);
console.info = console.log;
console.debug = (...values) => log("DEBUG", process.stdout, values);
console.warn = (...values) => log("WARN", process.stderr, values);
console.error = (...values) => log("ERROR", process.stderr, values);

async function loadHandler(setting) {
  const name = path.basename(setting);
  const dot = name.indexOf(".");
  if (dot < 0) throw fault("Runtime.MalformedHandlerName", "Bad handler");
  const file = path.join(taskRoot, setting.slice(0, setting.length - name.length), name.slice(0, dot));
  const extension = ["", ".js", ".mjs", ".cjs"].find((e) => fs.statSync(file + e, { throwIfNoEntry: false })?.isFile());
  const module = name.slice(0, dot);
  if (extension === undefined) {
    throw fault("Runtime.ImportModuleError", `Error: Cannot find module '${module}'`);
  }
  let loaded;
  try {
    loaded = isEsModule(file + extension)
      ? await import(pathToFileURL(file + extension))
      : createRequire(file + extension)(file + extension);
  } catch (error) {
    if (error instanceof SyntaxError) throw fault("Runtime.UserCodeSyntaxError", `SyntaxError: ${error.message}`);
    if (error?.code === "MODULE_NOT_FOUND" || error?.code === "ERR_MODULE_NOT_FOUND") {
      throw fault("Runtime.ImportModuleError", `Error: ${error.message}`);
    }
    throw error;
  }
  const handler = name.slice(dot + 1).split(".").reduce((value, key) => value?.[key], loaded);
  if (typeof handler !== "function") {
    throw fault("Runtime.HandlerNotFound", `${setting} is undefined or not exported`);
  }
  return handler;
}

function isEsModule(file) {
  if (file.endsWith(".mjs")) return true;
  if (file.endsWith(".cjs")) return false;
  try {
    return JSON.parse(fs.readFileSync(path.join(taskRoot, "package.json"), "utf8")).type === "module";
  } catch {
    return false;
  }
}

function contextOf(headers, finish) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const clientContext = headers["lambda-runtime-client-context"];
  return {
    awsRequestId: requestId,
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: clientContext ? JSON.parse(clientContext) : undefined,
    identity: undefined,
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
    done: (error, value) => finish(error, value),
    succeed: (value) => finish(null, value),
    fail: (error) => finish(error ?? new Error("null")),
  };
}

function call(handler, event, headers) {
  return new Promise((resolve, reject) => {
    const finish = (error, value) => (error ? reject(error) : resolve(value));
    const returned = handler(event, contextOf(headers, finish), finish);
    if (typeof returned?.then === "function") returned.then(resolve, reject);
    else if (returned !== undefined || handler.length < 3) {
      if (handler.length < 3) resolve(returned);
    }
  });
}

async function fail(resource, error) {
  const description = describe(error);
  console.error("Invoke Error", JSON.stringify({ ...description, stack: description.trace }));
  const headers = { "Lambda-Runtime-Function-Error-Type": description.errorType };
  await ask("POST", resource, JSON.stringify(description), headers);
}

// A failure outside of the handler's promise ends the process, as on AWS.
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, async (error) => {
    const resource = requestId ? `invocation/${requestId}/error` : "init/error";
    await fail(resource, error).catch(() => {});
    process.exit(129);
  });
}

const handler = await loadHandler(process.env._HANDLER);
for (;;) {
  const { headers, body } = await ask("GET", "invocation/next");
  requestId = headers["lambda-runtime-aws-request-id"];
  process.env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"] ?? "";
  try {
    const result = JSON.stringify((await call(handler, JSON.parse(body), headers)) ?? null);
    await ask("POST", `invocation/${requestId}/response`, result);
  } catch (error) {
    await fail(`invocation/${requestId}/error`, error);
  }
  requestId = "";
}
