import WireProtocol

/// What a watch has shown, so that a change is shown once when it goes on at another replica.
///
/// A replica begins by telling what there is, as new as anything that any replica has told before. What differs from
/// what was shown has changed in between.
struct WatchMemory: Sendable {
    private var shown: [Isobar_V1_ResourceKey: Isobar_V1_StoredResource] = [:]
    /// What the present replica has listed, until it has listed all.
    private var listed: Set<Isobar_V1_ResourceKey> = []
    private var isFirst = true

    /// A stream begins.
    mutating func begin() { self.listed = [] }

    /// What is to be shown of what a replica tells.
    mutating func news(in event: Isobar_V1_ResourceEvent) -> [Isobar_V1_ResourceEvent] {
        let key = event.resource.resource.key
        switch event.kind {
        case "listed":
            defer { self.isFirst = false }
            return self.isFirst ? [] : self.forgetUnlisted()
        case "current":
            self.listed.insert(key)
            return self.take(event, as: self.isFirst ? "current" : nil)
        case "deleted":
            return self.shown.removeValue(forKey: key) == nil ? [] : [event]
        default:
            return self.take(event, as: nil)
        }
    }

    /// Calls it by what was shown before, when no other kind is given.
    private mutating func take(_ event: Isobar_V1_ResourceEvent, as kind: String?) -> [Isobar_V1_ResourceEvent] {
        let key = event.resource.resource.key
        let before = self.shown[key]
        if let before, before.resource.resourceVersion >= event.resource.resource.resourceVersion { return [] }
        self.shown[key] = event.resource
        var event = event
        event.kind = kind ?? (before == nil ? "created" : "changed")
        return [event]
    }

    private mutating func forgetUnlisted() -> [Isobar_V1_ResourceEvent] {
        let gone = self.shown.keys.filter { !self.listed.contains($0) }
        return gone.sorted { ($0.kind, $0.namespace, $0.name) < ($1.kind, $1.namespace, $1.name) }.compactMap { key in
            self.shown.removeValue(forKey: key).map { resource in
                var event = Isobar_V1_ResourceEvent()
                event.kind = "deleted"
                event.resource = resource
                return event
            }
        }
    }
}
