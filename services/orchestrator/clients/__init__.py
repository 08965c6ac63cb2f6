"""The orchestrator's ports, implemented over gRPC. Protobuf types stop here."""
