/// The LoRA adapters that a model server has requests for.
package struct LoRAAdapters: Hashable, Sendable {
    /// Adapters with requests in the running batches, sorted.
    package var running: [String]
    /// Adapters with requests not begun, sorted.
    package var waiting: [String]
    /// The most adapters in one batch.
    package var most: Int?

    /// No model server loads more; what names more is not believed.
    package static let mostNames = 1024

    package init(running: [String], waiting: [String], most: Int? = nil) {
        self.running = running
        self.waiting = waiting
        self.most = most
    }

    /// All adapters in use, sorted, each once.
    package var names: [String] { Set(self.running).union(self.waiting).sorted() }

    /// A number that differs, but for chance, when the set of names does, whatever their order; 0 for none.
    ///
    /// FNV-1a, 64 bits, over the sorted names with a zero byte after each:
    /// https://datatracker.ietf.org/doc/html/draft-eastlake-fnv.
    package static func setHash(of names: some Sequence<String>) -> UInt64 {
        let names = Set(names).sorted()
        guard !names.isEmpty else { return 0 }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for name in names {
            for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            // The zero byte changes nothing before it is multiplied.
            hash = hash &* 0x100_0000_01b3
        }
        return hash
    }
}
