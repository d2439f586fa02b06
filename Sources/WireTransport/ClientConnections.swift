package import GRPCCore

extension GRPCClient {
    /// Keeps a client's connections until the task is cancelled, and from then on for as long as its calls last; they
    /// have to be cancelled as well.
    ///
    /// A client that is cancelled itself, as `runConnections()` may be, stops where it stands: a call that asks for a
    /// connection at that moment is answered by nobody, and waits for ever, cancelled or not. A client that is told to
    /// end answers it. So the connections live in a task of their own, which the cancellation of this one does not reach,
    /// and which this one waits for.
    ///
    /// - Throws: When the client is run already.
    package func keepConnections() async throws {
        let connections = Task { try await self.runConnections() }
        let outcome = await withTaskCancellationHandler {
            await connections.result
        } onCancel: {
            self.beginGracefulShutdown()
        }
        // Told to end before it began, it says that it has been stopped.
        if !Task.isCancelled { try outcome.get() }
    }
}
