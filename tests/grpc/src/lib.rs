//! Nothing but tests: calls of gRPC through Foregate, by tonic and by grpcio.
