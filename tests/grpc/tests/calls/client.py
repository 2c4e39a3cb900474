"""A client of grpcio: every kind of call, statuses, a deadline, a cancellation."""
import sys
import time
import grpc

channel = grpc.insecure_channel("127.0.0.1:" + sys.argv[1])
unary = channel.unary_unary("/t.T/Echo")
for length in (0, 1, 1000, 70000, 300000):
    assert unary(b"m" * length, timeout=10) == b"m" * length, length

assert list(channel.unary_stream("/t.T/Count")(b"5", timeout=10)) == [b"0", b"1", b"2", b"3", b"4"]
assert channel.stream_unary("/t.T/Sum")(iter([b"1", b"20", b"300"]), timeout=10) == b"321"


def ping_pong(n):
    """Each message goes out only when the one before has come back."""
    came = []

    def messages():
        for i in range(n):
            while len(came) < i:
                time.sleep(0.001)
            yield b"%d" % i

    for message in channel.stream_stream("/t.T/Echo")(messages(), timeout=20):
        came.append(message)
    return came


assert ping_pong(20) == [b"%d" % i for i in range(20)]


def status(path, **how):
    try:
        channel.unary_unary(path)(b"", **how)
    except grpc.RpcError as error:
        return error.code(), error.details()


assert status("/t.T/Fail", timeout=10) == (grpc.StatusCode.ALREADY_EXISTS, "there is one: 100 % sure")
assert status("/t.T/None", timeout=10)[0] == grpc.StatusCode.UNIMPLEMENTED

begun = time.monotonic()
waiting = channel.stream_stream("/t.T/Echo")(iter(lambda: time.sleep(2) or b"x", None), timeout=0.3)
try:
    list(waiting)
    raise AssertionError("no deadline")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error.code()
assert time.monotonic() - begun < 5

call = channel.unary_stream("/t.T/Count")(b"1000000", timeout=20)
assert next(call) == b"0"
call.cancel()
assert unary(b"and on", timeout=10) == b"and on"
channel.close()
print("all is well")
