# As threaded_pools.py, with Net::HTTP::Persistent or Excon: threaded_pool.rb LIBRARY BASE CONNECTIONS SECONDS AIM SPREAD BUSY
require "json"

LIBRARY, BASE = ARGV
CONNECTIONS, SECONDS, FIRST, SPREAD, BUSY = ARGV[2..].map(&:to_f)
STEP = 0.001
MUTEX = Mutex.new
COUNTS = { answered: 0, lost: 0, aim: FIRST }

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

DEADLINE = now + SECONDS

# A function that asks for a path, and returns X-Port.
def opened
  if LIBRARY == "excon"
    require "excon"
    client = Excon.new(BASE, persistent: true)
    ->(path) { client.get(path: path).headers["X-Port"] }
  else
    require "net/http/persistent"
    client = Net::HTTP::Persistent.new
    ->(path) { client.request(URI(BASE + path))["X-Port"] }
  end
end

def ask_again
  get = opened
  port = nil
  while now < DEADLINE
    begin
      seen = get.call("/bytes/20")
    rescue StandardError
      MUTEX.synchronize do
        COUNTS[:lost] += 1
        COUNTS[:aim] -= STEP
      end
      next
    end
    rest = MUTEX.synchronize do
      COUNTS[:answered] += 1
      COUNTS[:aim] += seen == port ? STEP : -STEP if port
      COUNTS[:aim] + SPREAD * (2 * rand - 1)
    end
    port = seen
    sleep([0, rest].max)
  end
end

def keep_busy
  get = opened
  while now < DEADLINE
    begin
      get.call("/work/#{BUSY.to_i}")
    rescue StandardError
      next
    end
    sleep(0.01 + 0.09 * rand)
  end
end

threads = Array.new(CONNECTIONS.to_i) { Thread.new { ask_again } }
threads << Thread.new { keep_busy } if BUSY.positive?
threads.each(&:join)
puts JSON.generate(COUNTS)
