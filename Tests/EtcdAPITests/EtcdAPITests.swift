import Foundation
import SwiftProtobuf
import Testing

@testable import EtcdAPI

/// The bytes are those of etcd's own api/etcdserverpb: a field number that slips would be read as another field.
@Suite("Messages for etcd")
struct EtcdAPITests {
    @Test("a transaction has etcd's field numbers")
    func transaction() throws {
        var request = Etcdserverpb_TxnRequest()
        var compare = Etcdserverpb_Compare()
        compare.target = .create
        compare.key = Data([0x61])
        compare.createRevision = 7
        request.compare = [compare]
        var put = Etcdserverpb_RequestOp()
        put.requestPut.key = Data([0x62])
        put.requestPut.value = Data([0x63])
        put.requestPut.lease = 5
        var delete = Etcdserverpb_RequestOp()
        delete.requestDeleteRange.key = Data([0x64])
        request.success = [put, delete]
        let bytes: [UInt8] = try request.serializedBytes()
        #expect(
            bytes == [
                0x0A, 7, 0x10, 1, 0x1A, 1, 0x61, 0x28, 7,
                0x12, 10, 0x12, 8, 0x0A, 1, 0x62, 0x12, 1, 0x63, 0x18, 5,
                0x12, 5, 0x1A, 3, 0x0A, 1, 0x64,
            ]
        )
    }

    @Test("an answer with fields that are not here is read all the same")
    func unknownFields() throws {
        // A WatchResponse with header.revision 9, compact_revision 4, fragment (field 7) and one DELETE of "a" at 9.
        let bytes: [UInt8] = [
            0x0A, 2, 0x18, 9, 0x28, 4, 0x38, 1, 0x5A, 9, 0x08, 1, 0x12, 5, 0x0A, 1, 0x61, 0x18, 9,
        ]
        let response = try Etcdserverpb_WatchResponse(serializedBytes: bytes)
        #expect(response.header.revision == 9)
        #expect(response.compactRevision == 4)
        #expect(response.events.map(\.type) == [.delete])
        #expect(response.events.map(\.kv.modRevision) == [9])
    }
}
