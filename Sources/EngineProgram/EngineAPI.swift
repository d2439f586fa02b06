import EngineModel
import Exposition
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// A request's context that knows its connection.
struct EngineContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: Source) {
        self.coreContext = CoreRequestContextStorage(source: source)
        self.channel = source.channel
    }
}

/// The HTTP interface of the model server.
struct EngineAPI: Sendable {
    static let maxBodyBytes = 8 << 20

    let options: EngineOptions
    let shell: EngineShell
    private let quotedModel: String
    private let started = Int(Date().timeIntervalSince1970)

    init(options: EngineOptions, shell: EngineShell) {
        self.options = options
        self.shell = shell
        self.quotedModel = JSON.quoted(options.model)
    }

    func router() -> Router<EngineContext> {
        let router = Router(context: EngineContext.self)
        router.get("/health") { _, _ in HTTPResponse.Status.ok }
        router.get("/metrics") { _, _ in
            let page = MetricsPage(model: self.options.model, profile: self.options.profile)
            return Self.answer(page.text(self.shell.metrics), type: ExpositionWriter.contentType)
        }
        router.get("/v1/models") { _, _ in Self.answer(self.models, type: "application/json") }
        router.post("/v1/completions") { request, context in
            try await self.generate(.completion, request, context)
        }
        router.post("/v1/chat/completions") { request, context in
            try await self.generate(.chat, request, context)
        }
        return router
    }

    private var models: String {
        """
        {"object":"list","data":[{"id":\(self.quotedModel),"object":"model","created":\(self.started),\
        "owned_by":"isobar","root":\(self.quotedModel),"parent":null,"max_model_len":\(self.options.maxModelLength)}]}
        """
    }

    private func generate(_ kind: EndpointKind, _ request: Request, _ context: EngineContext) async throws -> Response {
        let body = try await Self.collect(request)
        let ask = try EngineAsk(Data(body.readableBytesView), kind: kind, options: self.options)
        let answer = AnswerText(ask: ask, created: Int(Date().timeIntervalSince1970), quotedModel: self.quotedModel)
        let name = HTTPField.Name("x-request-id").flatMap { request.headers[$0] }
        let (id, tokens) = try self.submit(ask, context, name: name)
        // The close may have come before the submission: then nobody else would cancel it.
        if !context.channel.isActive { self.shell.cancel(id) }

        guard ask.streams else {
            let finish = await tokens.first { $0.finish != nil }?.finish
            self.shell.cancel(id)
            guard let finish else { throw APIError.shuttingDown }
            return Self.answer(answer.whole(finish: finish), type: "application/json")
        }
        let stream = ResponseBody { writer in
            defer { self.shell.cancel(id) }
            var isComplete = false
            for await token in tokens {
                var buffer = ByteBuffer()
                answer.events(for: token, into: &buffer)
                try await writer.write(buffer)
                isComplete = token.finish != nil
            }
            guard isComplete else { throw APIError.shuttingDown }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok,
            headers: [.contentType: "text/event-stream; charset=utf-8"],
            body: stream
        )
    }

    private func submit(
        _ ask: EngineAsk,
        _ context: EngineContext,
        name: String?
    ) throws(APIError) -> (id: UInt64, tokens: AsyncStream<EngineToken>) {
        do {
            return try self.shell.submit(ask, connection: ConnectionID(context.channel), name: name)
        } catch {
            throw .badRequest(error.description, param: nil)
        }
    }

    private static func collect(_ request: Request) async throws(APIError) -> ByteBuffer {
        do {
            return try await request.body.collect(upTo: Self.maxBodyBytes)
        } catch is NIOTooManyBytesError {
            throw .bodyTooLarge
        } catch let error as HTTPError where error.status == .contentTooLarge {
            throw .bodyTooLarge
        } catch {
            throw .badRequest("The request body ended early.", param: nil)
        }
    }

    private static func answer(_ text: String, type: String) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: type],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }
}
