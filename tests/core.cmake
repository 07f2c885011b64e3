convnext_test(core_test core_test.cc cpu_features_test.cc memory_limit_test.cc)
convnext_test(thread_pool_test thread_pool_test.cc task_shares_test.cc thread_speeds_test.cc)
