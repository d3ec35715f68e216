"""The Python runtime of Passo's Lambda: speaks the Lambda Runtime API and calls the user's handler.

Standard library only, Python 3.8 and newer. Paths of the bundle are shown as /var/task, as on AWS.
"""

import http.client
import importlib
import importlib.machinery
import importlib.util
import json
import logging
import os
import re
import sys
import time
import traceback

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
TASK_ROOT = os.environ["LAMBDA_TASK_ROOT"]
TASK_ROOT_ON_AWS = "/var/task"
OWN_FILE = os.path.abspath(__file__)
# Older ones do not know AWS_ENDPOINT_URL and would call the real AWS.
OLDEST = {"boto3": (1, 28), "botocore": (1, 31)}


class Connection:
    """One kept-alive connection to the Runtime API."""

    def __init__(self):
        self.http = http.client.HTTPConnection(API)

    def ask(self, method, path, body=None, headers=None):
        self.http.request(method, "/2018-06-01/runtime/" + path, body=body, headers=headers or {})
        response = self.http.getresponse()
        return response, response.read()

    def post(self, path, value, error_type=None):
        headers = {"Content-Type": "application/json"}
        if error_type:
            headers["Lambda-Runtime-Function-Error-Type"] = error_type
        self.ask("POST", path, value, headers)


class Identity:
    def __init__(self, cognito=None):
        cognito = cognito or {}
        self.cognito_identity_id = cognito.get("cognitoIdentityId")
        self.cognito_identity_pool_id = cognito.get("cognitoIdentityPoolId")


class ClientContext:
    def __init__(self, value):
        self.custom = value.get("custom")
        self.env = value.get("env")
        self.client = value.get("client")


class Context:
    """The second argument of a handler."""

    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        client_context = headers.get("Lambda-Runtime-Client-Context")
        self.client_context = ClientContext(json.loads(client_context)) if client_context else None
        self.identity = Identity()
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline - int(time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))


class Packages:
    """Finds packages that AWS offers or that requirements.txt names, only when code asks for them."""

    def __init__(self, connection):
        self.connection = connection
        self.asked = {}

    def find_spec(self, name, path=None, target=None):
        if name not in OLDEST or path is not None:
            return None
        if self.version_found(name) >= OLDEST[name]:
            return None
        # In front of everything: an old copy in the bundle must not be used, nor mixed with a new one.
        self.provide("boto3", 0)
        return importlib.machinery.PathFinder.find_spec(name)

    def version_found(self, name):
        spec = importlib.machinery.PathFinder.find_spec(name)
        if spec is None or not spec.origin:
            return (0,)
        with open(spec.origin, encoding="utf-8") as source:
            found = re.search(r"^__version__\s*=\s*['\"](\d+)\.(\d+)", source.read(), re.MULTILINE)
        return (int(found[1]), int(found[2])) if found else (0,)

    def provide(self, what, position):
        if what not in self.asked:
            response, body = Connection().ask("POST", "passo/packages/" + what)
            answer = json.loads(body)
            self.asked[what] = answer
            if response.status == 200:
                sys.path.insert(position, answer["path"])
                importlib.invalidate_caches()
        if "error" in self.asked[what]:
            raise ImportError(self.asked[what]["error"])


class MissingPackages:
    """The last finder: what nobody has may be in requirements.txt."""

    def __init__(self, packages):
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        if path is not None or not os.path.exists(os.path.join(TASK_ROOT, "requirements.txt")):
            return None
        if not self.is_wanted_by_the_bundle():
            return None
        self.packages.provide("requirements", 1)
        return importlib.machinery.PathFinder.find_spec(name)

    @staticmethod
    def is_wanted_by_the_bundle():
        """Libraries probe for optional modules; only an import written in the bundle is worth a download."""
        frame = sys._getframe(2)
        while frame is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        return frame is not None and os.path.abspath(frame.f_code.co_filename).startswith(TASK_ROOT)


class Fault(Exception):
    """A function that cannot run: every invocation answers with it, as on AWS."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trace = list(trace)


def shown(path_text):
    return path_text.replace(TASK_ROOT, TASK_ROOT_ON_AWS)


def error_payload(message, kind, trace, request_id):
    value = {"errorMessage": shown(message), "errorType": kind, "requestId": request_id, "stackTrace": trace}
    return json.dumps(value).encode()


def stack_trace(error):
    frames = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(error.__traceback__)]
    for index, frame in enumerate(frames):
        if frame[0] != OWN_FILE and "importlib" not in frame[0]:
            frames = frames[index:]
            break
    else:
        frames = []
    return [shown(line) for line in traceback.format_list(frames)]


def log_error(message, kind, trace):
    text = "[ERROR] %s: %s" % (kind, message) if message else "[ERROR] %s" % kind
    if trace:
        text += "\nTraceback (most recent call last):\n" + "".join(trace).rstrip("\n")
    # One log event for one error: carriage returns hold its lines together.
    sys.stdout.write(shown(text).replace("\n", "\r") + "\n")
    sys.stdout.flush()


def load_handler(setting):
    try:
        module_name, function_name = setting.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (setting, error))
    module_name = module_name.replace("/", ".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, error))
    except SyntaxError as error:
        trace = ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)]
        message = "Syntax error in module '%s': %s" % (module_name, error)
        raise Fault("Runtime.UserCodeSyntaxError", message, [shown(line) for line in trace])
    try:
        return getattr(module, function_name)
    except AttributeError:
        message = "Handler '%s' missing on module '%s'" % (function_name, module_name)
        raise Fault("Runtime.HandlerNotFound", message)


def encode(value):
    def default(item):
        if type(item).__name__ == "Decimal":
            return float(item)
        raise TypeError("Object of type %s is not JSON serializable" % type(item).__name__)

    if isinstance(value, bytes):
        return value
    return json.dumps(value, default=default).encode()


class LogFormat(logging.Formatter):
    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self):
        super().__init__("[%(levelname)s]\t%(asctime)s\t%(aws_request_id)s\t%(message)s\n")


class LogHandler(logging.Handler):
    def __init__(self):
        super().__init__()
        self.request_id = ""
        self.setFormatter(LogFormat())

    def emit(self, record):
        record.aws_request_id = self.request_id
        sys.stdout.write(self.format(record).rstrip("\n").replace("\n", "\r") + "\n")


def serve(connection, handler, log_handler):
    response, body = connection.ask("GET", "invocation/next")
    headers = response.headers
    request_id = headers["Lambda-Runtime-Aws-Request-Id"]
    log_handler.request_id = request_id
    os.environ["_X_AMZN_TRACE_ID"] = headers.get("Lambda-Runtime-Trace-Id", "")
    path = "invocation/%s/" % request_id
    failure = None
    try:
        if isinstance(handler, Fault):
            raise handler
        result = handler(json.loads(body), Context(headers))
        try:
            result = encode(result)
        except Exception as error:
            raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error) from None
    except Fault as fault:
        failure = (fault.message, fault.kind, fault.trace)
    except Exception as error:
        failure = (str(error), type(error).__name__, stack_trace(error))
    if failure:
        log_error(*failure)
        sys.stderr.flush()
        connection.post(path + "error", error_payload(*failure, request_id), failure[1])
    else:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.post(path + "response", result)


def main():
    connection = Connection()
    sys.path[0] = TASK_ROOT
    packages = Packages(connection)
    sys.meta_path.insert(0, packages)
    sys.meta_path.append(MissingPackages(packages))
    sys.stdout.reconfigure(line_buffering=True)
    log_handler = LogHandler()
    logging.getLogger().addHandler(log_handler)
    try:
        handler = load_handler(os.environ["_HANDLER"])
    except Fault as fault:
        handler = fault
    except Exception as error:
        failure = (str(error), type(error).__name__, stack_trace(error))
        log_error(*failure)
        connection.post("init/error", error_payload(*failure, ""), failure[1])
        sys.exit(1)
    while True:
        serve(connection, handler, log_handler)


if __name__ == "__main__":
    main()
