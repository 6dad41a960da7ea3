box.cfg { listen = 3301, memtx_dir = '{folder}', wal_mode = 'none', memtx_memory = 33554432, log_level = 1 }
box.schema.space.create('t', { if_not_exists = true }):create_index('p', { if_not_exists = true })
box.schema.user.grant('guest', 'read,write,execute', 'universe', nil, { if_not_exists = true })
