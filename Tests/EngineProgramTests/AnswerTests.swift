import EngineProgram
import Testing

@Suite(.timeLimit(.minutes(1))) struct `The engine answers` {
    @Test func `that it is well, and which model it has`() async throws {
        try await withEngine(EngineOptions(port: 0, model: "tiny", maxModelLength: 2_048)) { engine in
            #expect(try await engine.get("/health") == (200, ""))
            let models = try await engine.get("/v1/models")
            #expect(
                models.text.withoutChance == """
                    {"object":"list","data":[{"id":"tiny","object":"model","created":0,"owned_by":"isobar",\
                    "root":"tiny","parent":null,"max_model_len":2048}]}
                    """
            )
        }
    }

    @Test func `a chat as a stream, token by token, with usage and an end mark`() async throws {
        try await withEngine(EngineOptions(port: 0, model: "tiny", timeScale: 50)) { engine in
            let answer = try await engine.post(
                "/v1/chat/completions",
                """
                {"model":"tiny","messages":[{"role":"user","content":"What is an isobar?"}],"max_tokens":3,
                "stream":true,"stream_options":{"include_usage":true},"ignore_eos":true}
                """
            )
            let head = #"data: {"id":"chatcmpl-ID","object":"chat.completion.chunk","created":0,"model":"tiny","#
            let choice = #""choices":[{"index":0,"delta":{"#
            let tail = #"},"logprobs":null,"finish_reason":"#
            #expect(answer.status == 200)
            #expect(
                answer.text.withoutChance == """
                    \(head)\(choice)"role":"assistant","content":""\(tail)null}]}

                    \(head)\(choice)"content":"Air"\(tail)null}]}

                    \(head)\(choice)"content":" moves"\(tail)null}]}

                    \(head)\(choice)"content":" from"\(tail)"length","stop_reason":null}]}

                    \(head)"choices":[],"usage":{"prompt_tokens":11,"total_tokens":14,"completion_tokens":3,\
                    "prompt_tokens_details":null}}

                    data: [DONE]


                    """
            )
        }
    }

    @Test func `a chat as a whole`() async throws {
        try await withEngine(EngineOptions(port: 0, model: "tiny", timeScale: 50)) { engine in
            let answer = try await engine.post(
                "/v1/chat/completions",
                """
                {"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}],"max_completion_tokens":2}
                """
            )
            #expect(
                answer.text.withoutChance == """
                    {"id":"chatcmpl-ID","object":"chat.completion","created":0,"model":"tiny","choices":[{"index":0,\
                    "message":{"role":"assistant","content":"Air moves","refusal":null,"tool_calls":[]},\
                    "logprobs":null,"finish_reason":"length","stop_reason":null}],\
                    "usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2,"prompt_tokens_details":null}}
                    """
            )
        }
    }

    @Test func `a completion both ways; without max_tokens it stops by itself`() async throws {
        try await withEngine(EngineOptions(port: 0, model: "tiny", timeScale: 50)) { engine in
            let whole = try await engine.post("/v1/completions", #"{"model":"tiny","prompt":[1,2,3,4,5]}"#)
            #expect(whole.text.contains(#""object":"text_completion""#))
            #expect(whole.text.contains(#""finish_reason":"stop","stop_reason":null"#))
            #expect(whole.text.contains(#""prompt_tokens":5,"total_tokens":133,"completion_tokens":128"#))
            let stream = try await engine.post(
                "/v1/completions",
                #"{"model":"tiny","prompt":"one two three","max_tokens":1,"stream":true}"#
            )
            #expect(
                stream.text.withoutChance == """
                    data: {"id":"cmpl-ID","object":"text_completion","created":0,"model":"tiny","choices":[{"index":0,\
                    "text":"Air","logprobs":null,"finish_reason":"length","stop_reason":null}]}

                    data: [DONE]


                    """
            )
        }
    }

    @Test(
        arguments: [
            ("/v1/completions", #"{"prompt":"#, 400, "JSON decode error"),
            ("/v1/completions", #"{"prompt":"a","max_tokens":"many"}"#, 400, "max_tokens: "),
            ("/v1/completions", #"{"prompt":["a","b"]}"#, 400, "prompt: give one prompt"),
            ("/v1/completions", #"{"max_tokens":1}"#, 400, "prompt is missing"),
            ("/v1/completions", #"{"prompt":"a","n":2}"#, 400, "n must be 1"),
            ("/v1/completions", #"{"prompt":"a","max_tokens":0}"#, 400, "max_tokens must be at least 1, got 0."),
            ("/v1/completions", #"{"prompt":"abcdefgh","max_tokens":63}"#, 400, "maximum context length is 64 tokens"),
            ("/v1/chat/completions", #"{"messages":[]}"#, 400, "messages is missing or empty"),
            ("/v1/chat/completions", #"{"messages":[{"content":"a"}]}"#, 400, "role is missing"),
            ("/v1/chat/completions", #"{"model":"gpt-5","messages":[]}"#, 404, "The model `gpt-5` does not exist."),
        ]
    )
    func `what is wrong with a bad request`(path: String, body: String, status: Int, words: String) async throws {
        try await withEngine(EngineOptions(port: 0, model: "tiny", maxModelLength: 64)) { engine in
            let answer = try await engine.post(path, body)
            #expect(answer.status == status)
            #expect(answer.text.hasPrefix(#"{"error":{"message":""#))
            #expect(answer.text.contains(words), "\(answer.text)")
            #expect(answer.text.hasSuffix("\"code\":\(status)}}"))
        }
    }
}
