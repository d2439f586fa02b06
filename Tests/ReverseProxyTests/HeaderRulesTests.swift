import Testing

@testable import ReverseProxy

@Suite struct HeaderRulesTests {
    func admit(
        _ headers: Fields = [:],
        method: String = "POST",
        uri: String = "/v1"
    ) throws(Refusal) -> AdmittedRequest {
        var headers = headers
        headers.add("Host", "test")
        return try HeaderRules.admit(
            RequestHead(method: method, uri: uri, headers: headers),
            client: "192.0.2.7",
            viaName: "isobar"
        )
    }

    @Test(
        arguments: [
            ["content-length": "4", "transfer-encoding": "chunked"],
            ["content-length": "4", "Content-Length": "5"],
            ["transfer-encoding": "gzip, chunked"],
            ["transfer-encoding": "chunked", "Transfer-Encoding": "identity"],
            ["host": "other"],
        ] as [Fields]
    )
    func `a request that two servers could read in two ways is refused`(headers: Fields) {
        let refusal = #expect(throws: Refusal.self) { try self.admit(headers) }
        #expect(refusal?.status == 400)
    }

    @Test func `what is not proxied is refused, and an offer of h2c is passed over`() throws {
        #expect(#expect(throws: Refusal.self) { try self.admit(method: "CONNECT") }?.status == 501)
        #expect(#expect(throws: Refusal.self) { try self.admit(["upgrade": "websocket"]) }?.status == 501)
        #expect(#expect(throws: Refusal.self) { try self.admit(["expect": "a miracle"]) }?.status == 417)
        #expect(#expect(throws: Refusal.self) { try self.admit(uri: "nonsense") }?.status == 400)
        let offer = try self.admit(["upgrade": "h2c", "connection": "upgrade, http2-settings", "http2-settings": "x"])
        #expect(offer.head.headers.names == ["Host", "x-forwarded-for", "via"])
        #expect(!offer.keepAlive)
    }

    @Test func `headers of one hop stay on it, and those that frame a message cannot be nominated away`() throws {
        let admitted = try self.admit([
            "Connection": "keep-alive, X-Private, Content-Length, Host", "Keep-Alive": "5", "TE": "trailers",
            "Proxy-Connection": "x", "Proxy-Authorization": "x", "X-Private": "1", "Content-Length": "3",
            "Authorization": "Bearer t",
        ])
        #expect(
            admitted.head.headers.names == ["Content-Length", "Authorization", "Host", "x-forwarded-for", "via"]
        )
    }

    @Test func `what a server says of its load is kept from a client that did not ask for it`() throws {
        let head = ResponseHead(
            status: 200,
            reason: "OK",
            headers: ["Endpoint-Load-Metrics": "TEXT named_metrics.num_requests_waiting=3", "content-length": "0"]
        )
        func names(_ request: AdmittedRequest) -> [String] {
            HeaderRules.respond(head, to: request, adding: [], keepAlive: true).head.headers.names
        }
        #expect(names(try self.admit()) == ["content-length"])
        let asking = try self.admit(["endpoint-load-metrics-format": "TEXT"])
        #expect(names(asking) == ["Endpoint-Load-Metrics", "content-length"])
        #expect(asking.head.headers["endpoint-load-metrics-format"] == ["TEXT"])
    }

    @Test func `the way of a request is written down and its gateways are counted`() throws {
        let admitted = try self.admit([
            "X-Forwarded-For": "198.51.100.1", "x-forwarded-for": "198.51.100.2", "Via": "1.0 fred, 1.1 isobar",
        ])
        #expect(admitted.head.headers["x-forwarded-for"] == ["198.51.100.1, 198.51.100.2, 192.0.2.7"])
        #expect(admitted.head.headers["via"] == ["1.0 fred, 1.1 isobar, 1.1 isobar"])
        #expect(admitted.hops == 1)
    }

    @Test(arguments: [
        ("http://test/v1/models?x=1", "/v1/models?x=1"), ("http://test", "/"), ("http://test?x", "/?x"), ("*", "*"),
    ])
    func `an absolute target becomes path and query`(given: String, expected: String) throws {
        #expect(try self.admit(uri: given).head.uri == expected)
    }

    @Test func `an answer is framed for the client that gets it`() throws {
        func respond(_ method: String, _ status: Int, _ headers: Fields) throws -> Fields {
            let head = ResponseHead(status: status, reason: "", headers: headers)
            return HeaderRules.respond(head, to: try self.admit(method: method), adding: [], keepAlive: true).head
                .headers
        }
        #expect(try respond("GET", 200, [:]) == ["transfer-encoding": "chunked"])
        #expect(try respond("GET", 200, ["Transfer-Encoding": "chunked"]) == ["transfer-encoding": "chunked"])
        #expect(try respond("GET", 200, ["Content-Length": "3"]) == ["Content-Length": "3"])
        #expect(try respond("HEAD", 200, ["Transfer-Encoding": "chunked"]) == [:])
        #expect(try respond("HEAD", 200, ["Content-Length": "3"]) == ["Content-Length": "3"])
        #expect(try respond("GET", 204, ["Content-Length": "0"]) == [:])
        #expect(try respond("GET", 304, ["Content-Length": "3"]) == ["Content-Length": "3"])
    }

    @Test func `no header of the director's can split a message`() {
        #expect(ProxyHeader("x-reason", "a\r\nset-cookie: b").value == "a  set-cookie: b")
        #expect(ProxyHeader("x-a: b\r\nx", "").name == "x-abx")
        var headers: Fields = ["content-length": "3", "x-a": "1"]
        headers.set([ProxyHeader("Content-Length", "9"), ProxyHeader("connection", "close"), ProxyHeader("X-A", "2")])
        #expect(headers == ["content-length": "3", "X-A": "2"])
    }
}

extension Fields {
    var names: [String] { self.lines.map(self.name) }

    subscript(_ name: String) -> [String] { self.lines.filter { self.isNamed($0, name) }.map(self.value) }
}
