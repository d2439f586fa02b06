extension StateStore {
    /// Shows what stands under a prefix, at once and after every change, until cancelled.
    ///
    /// Level-triggered: what is shown comes from a listing, which changes then amend, and the listing is made anew when
    /// the watch breaks, when its history is gone, and from time to time regardless. So a change that a watch lost is
    /// found, late.
    ///
    /// - Parameters:
    ///   - prefix: Of the keys.
    ///   - period: From listing to listing, at most.
    ///   - lost: Told why the store could not answer, before it is asked again.
    ///   - show: Takes the picture; the next one waits until it has returned.
    package func follow(
        prefix: String,
        every period: Duration = .seconds(60),
        lost: @Sendable (StoreError) -> Void = { _ in },
        _ show: @escaping @Sendable (StoreListing) async -> Void
    ) async {
        while !Task.isCancelled {
            do throws(StoreError) {
                let listing = try await self.read(prefix: prefix)
                await show(listing)
                try await self.watch(from: listing, prefix: prefix, for: period, show)
            } catch {
                if Task.isCancelled { return }
                if error.kind == .compacted { continue }
                lost(error)
                try? await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    private func watch(
        from listing: StoreListing,
        prefix: String,
        for period: Duration,
        _ show: @escaping @Sendable (StoreListing) async -> Void
    ) async throws(StoreError) {
        let picture = StorePicture(listing)
        let result = await withTaskGroup(of: Result<Void, StoreError>.self) { group in
            group.addTask {
                do throws(StoreError) {
                    try await self.watch(prefix: prefix, after: listing.revision) { batch in
                        await show(await picture.amended(by: batch))
                    }
                    return .success(())
                } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                try? await Task.sleep(for: period)
                return .success(())
            }
            defer { group.cancelAll() }
            return await group.next() ?? .success(())
        }
        try result.get()
    }
}

/// A listing that changes amend.
private actor StorePicture {
    private var listing: StoreListing

    init(_ listing: StoreListing) { self.listing = listing }

    func amended(by batch: StoreBatch) -> StoreListing {
        self.listing.amend(by: batch)
        return self.listing
    }
}

extension StoreListing {
    /// Takes the changes of a later revision.
    package mutating func amend(by batch: StoreBatch) {
        self.revision = batch.revision
        for change in batch.changes {
            let place = self.entries.firstIndex { $0.key >= change.key } ?? self.entries.endIndex
            let isThere = place < self.entries.endIndex && self.entries[place].key == change.key
            switch change {
            case .put(let entry):
                if isThere { self.entries[place] = entry } else { self.entries.insert(entry, at: place) }
            case .deleted:
                if isThere { self.entries.remove(at: place) }
            }
        }
    }
}
