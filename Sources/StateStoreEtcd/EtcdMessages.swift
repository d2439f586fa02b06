import EtcdAPI
import Foundation
import GRPCCore
import StateStore

/// Keys as etcd has them: below a prefix, so that several fleets may share one etcd.
struct EtcdKeys: Sendable {
    let prefix: String

    func bytes(_ key: String) -> Data { Data((self.prefix + key).utf8) }

    /// The end of the range of all keys that begin with these bytes: the first key after them.
    static func end(of start: Data) -> Data {
        var end = [UInt8](start)
        while let last = end.popLast() {
            if last < 0xFF { return Data(end + [last + 1]) }
        }
        // Every byte was the greatest, or there was none: to the end of all keys.
        return Data([0])
    }

    func entry(_ pair: Etcdserverpb_KeyValue) -> StoreEntry {
        StoreEntry(
            key: self.key(pair),
            value: [UInt8](pair.value),
            created: pair.createRevision,
            modified: pair.modRevision,
            lease: pair.lease == 0 ? nil : pair.lease
        )
    }

    private func key(_ pair: Etcdserverpb_KeyValue) -> String {
        String(String(decoding: pair.key, as: UTF8.self).dropFirst(self.prefix.count))
    }

    /// The batches of a watch's answer: etcd may put several revisions into one.
    func batches(_ events: [Etcdserverpb_Event]) -> [StoreBatch] {
        var batches: [StoreBatch] = []
        for event in events {
            let revision = event.kv.modRevision
            let change: StoreChange =
                event.type == .delete ? .deleted(key: self.key(event.kv)) : .put(self.entry(event.kv))
            if batches.last?.revision == revision {
                batches[batches.count - 1].changes.append(change)
            } else {
                batches.append(StoreBatch(revision: revision, changes: [change]))
            }
        }
        return batches
    }

    func request(_ transaction: StoreTransaction) -> Etcdserverpb_TxnRequest {
        var request = Etcdserverpb_TxnRequest()
        request.compare = transaction.conditions.map { condition in
            var compare = Etcdserverpb_Compare()
            compare.result = .equal
            switch condition {
            case .absent(let key):
                compare.key = self.bytes(key)
                compare.target = .create
                compare.createRevision = 0
            case .modified(let key, let revision):
                compare.key = self.bytes(key)
                compare.target = .mod
                compare.modRevision = revision
            case .created(let key, let revision):
                compare.key = self.bytes(key)
                compare.target = .create
                compare.createRevision = revision
            }
            return compare
        }
        request.success = transaction.writes.map { write in
            var operation = Etcdserverpb_RequestOp()
            switch write {
            case .put(let key, let value, let lease):
                operation.requestPut.key = self.bytes(key)
                operation.requestPut.value = Data(value)
                operation.requestPut.lease = lease ?? 0
            case .delete(let key):
                operation.requestDeleteRange.key = self.bytes(key)
            }
            return operation
        }
        return request
    }
}

/// What an error of etcd means for whoever asked.
enum EtcdFailure {
    /// Nobody knows whether the request took effect: another member may know more.
    case unclear(reason: String)
    /// A lease that the request names has ended.
    case leaseEnded
    /// It had no effect and asking another member will not change that.
    case refused(reason: String)

    init(_ error: any Error, _ security: EtcdSecurity) {
        guard let error = error as? RPCError else {
            self = .unclear(reason: "\(error)")
            return
        }
        switch error.code {
        case .notFound:
            self = .leaseEnded
        case .permissionDenied:
            let fix = "give the user of etcdCertificate a role that reads and writes all keys below etcdPrefix"
            self = .refused(reason: "\(error.message); \(fix)")
        case .invalidArgument, .failedPrecondition, .outOfRange, .unauthenticated, .unimplemented:
            self = .refused(reason: error.message)
        case .resourceExhausted where error.message.contains("database space"):
            self = .refused(
                reason: "\(error.message); compact and defragment etcd, then disarm its alarm: "
                    + "etcdctl defrag --cluster && etcdctl alarm disarm"
            )
        case .resourceExhausted:
            self = .refused(reason: "\(error.message); etcd takes requests of up to 1.5 MiB (--max-request-bytes)")
        default:
            let cause = error.cause.map { ": \($0)" } ?? ""
            let reason = "\(error.code): \(error.message)\(cause)"
            self = .unclear(reason: security.advice(on: reason).map { "\(reason); \($0)" } ?? reason)
        }
    }
}
