#include <bits/stdc++.h>
using namespace std;

using ll = long long;
#define all(v) (v).begin(), (v).end()

int main()
{
    ios::sync_with_stdio(false);
    cin.tie(nullptr);
    vector<pair<ll, string>> words{{3, "c"}, {1, "hello"}, {2, "b"}};
    sort(all(words));
    map<string, ll> counts;
    for (const auto &[number, word] : words)
        counts[word] += number;
    priority_queue<ll, vector<ll>, greater<>> least;
    for (const auto &[word, number] : counts)
        least.push(number);
    auto found = lower_bound(all(words), make_pair(least.top(), string()));
    cout << found->second << '\n';
}
