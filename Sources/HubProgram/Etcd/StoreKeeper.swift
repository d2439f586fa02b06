import EtcdCare
import FleetModel
import Logging
import Observability
import ServiceLifecycle
import StateStore
import StateStoreEtcd

/// What the leading hub does for the store's room: lets go of old changes, and of room that files no longer need.
struct StoreKeeper: Service {
    let hub: Hub
    let store: EtcdStore
    /// Whether the history is this hub's to let go of.
    let compacts: Bool
    /// The quota of members that hubs run; an etcd that somebody else runs is made smaller by them.
    let quota: Int64?

    func run() async {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                if self.compacts { group.addTask { await self.compact() } }
                if let quota { group.addTask { await self.keepHouse(quota) } }
            }
        }
    }

    private func compact() async {
        var compaction = Compaction()
        while !Task.isCancelled {
            if self.hub.leads() != nil {
                do throws(StoreError) {
                    // Whatever key: a listing tells the revision of the whole store.
                    let revision = try await self.store.read(prefix: Ballot.leaderKey).revision
                    if let old = compaction.note(revision, now: self.hub.clock.now) {
                        try await self.store.compact(before: old)
                        self.hub.withState { $0.counts.compactions += 1 }
                        self.hub.logger.debug("store compacted", metadata: ["before": "\(old)"])
                    }
                } catch {
                    self.hub.logger.warning("store not compacted", metadata: ["reason": "\(error)"])
                }
            } else {
                compaction = Compaction()
            }
            try? await Task.sleep(for: .seconds(Compaction.pause))
        }
    }

    private func keepHouse(_ quota: Int64) async {
        var housekeeping = Housekeeping(quota: quota)
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(Housekeeping.pause))
            guard self.hub.leads() != nil else { continue }
            guard let step = housekeeping.next(await self.store.standings(), now: self.hub.clock.now) else { continue }
            do throws(StoreError) {
                self.hub.logger.notice("store is tidied", metadata: ["step": "\(step)"])
                try await self.store.perform(step)
                self.hub.withState { $0.counts.housekeeping += 1 }
            } catch {
                self.hub.logger.warning("store not tidied", metadata: ["reason": "\(error)"])
            }
        }
    }
}
