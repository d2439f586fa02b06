import FleetModel

/// How long a failure was felt.
enum Recovery {
    /// From the failure until every request, from every region, is answered again without a retry, in seconds.
    ///
    /// Precisely: the send time of the last request that was retried, failed or was interrupted, less the time of the
    /// failure; 0 when no such request was sent after the failure. Requests that the end of the run cut do not count.
    static func seconds(_ records: [Record], failureAt failure: Seconds) -> Seconds {
        let troubled = records.filter { record in
            switch record.outcome {
            case .answered, .unfinished: record.retries > 0
            case .failed, .interrupted: true
            }
        }
        return max(0, (troubled.map(\.sentAt).max() ?? failure) - failure)
    }
}
