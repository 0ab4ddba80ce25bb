"""One gRPC call without TLS: prints the name of the status code. Arguments: ADDRESS:PORT and the authority."""

import sys

import grpc

SECONDS = 10.0


def main() -> None:
    options = [("grpc.default_authority", sys.argv[2]), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(sys.argv[1], options) as channel:
        try:
            channel.unary_unary("/shop.Orders/Get")(b"", timeout=SECONDS)
            print("OK")
        except grpc.RpcError as error:
            print(error.code().name)


if __name__ == "__main__":
    main()
