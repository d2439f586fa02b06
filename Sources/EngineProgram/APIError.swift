import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// A refusal in the shape that vLLM and OpenAI give it.
struct APIError: Error, HTTPResponseError {
    let status: HTTPResponse.Status
    let type: String
    let message: String
    let param: String?

    static func badRequest(_ message: String, param: String?) -> APIError {
        APIError(status: .badRequest, type: "BadRequestError", message: message, param: param)
    }

    static func unknownModel(_ model: String) -> APIError {
        APIError(
            status: .notFound,
            type: "NotFoundError",
            message: "The model `\(model)` does not exist.",
            param: "model"
        )
    }

    static func tooLong(limit: Int, prompt: Int, output: Int) -> APIError {
        .badRequest(
            "This model's maximum context length is \(limit) tokens. However, you requested \(prompt + output) tokens "
                + "(\(prompt) in the prompt, \(output) in the completion). Please reduce the length of either one.",
            param: "max_tokens"
        )
    }

    static let bodyTooLarge = APIError(
        status: .contentTooLarge,
        type: "BadRequestError",
        message: "The request body is larger than \(EngineAPI.maxBodyBytes) bytes.",
        param: nil
    )

    static let shuttingDown = APIError(
        status: .serviceUnavailable,
        type: "ServiceUnavailableError",
        message: "The server is shutting down.",
        param: nil
    )

    func response(from request: Request, context: some RequestContext) -> Response {
        let param = self.param.map(JSON.quoted) ?? "null"
        let body = """
            {"error":{"message":\(JSON.quoted(self.message)),"type":"\(self.type)","param":\(param),\
            "code":\(self.status.code)}}
            """
        return Response(
            status: self.status,
            headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: body))
        )
    }
}

/// The little JSON that is written by hand, because it is written for every token.
enum JSON {
    /// A string literal.
    static func quoted(_ text: String) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        guard let data = try? encoder.encode(text) else { return "\"\"" }
        return String(decoding: data, as: UTF8.self)
    }
}
