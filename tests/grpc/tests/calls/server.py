"""A server of grpcio: the same methods as the one of tonic, messages that are bytes."""
import sys
from concurrent import futures
import grpc


def echo(requests, context):
    for message in requests:
        yield message


def count(requests, context):
    for message in requests:
        for n in range(int(message)):
            yield str(n).encode()


def total(requests, context):
    yield str(sum(int(message) for message in requests)).encode()


def fail(requests, context):
    context.abort(grpc.StatusCode.ALREADY_EXISTS, "there is one: 100 % sure")
    yield b""


METHODS = {"/t.T/Echo": echo, "/t.T/Count": count, "/t.T/Sum": total, "/t.T/Fail": fail}


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        method = METHODS.get(details.method)
        return method and grpc.stream_stream_rpc_method_handler(method)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
server.add_generic_rpc_handlers((Handler(),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
# Until the test that has started it goes.
sys.stdin.read()
server.stop(None)
